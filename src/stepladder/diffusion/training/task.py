"""Training a diffusion model, and using a trained one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.description import Data
from stepladder.diffusion.losses import squared_error
from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.conditions import Condition, hide
from stepladder.diffusion.networks.description import DiffusionDescription, described
from stepladder.diffusion.processes.process import q_sample, split
from stepladder.diffusion.processes.processes import of
from stepladder.diffusion.processes.settings import sigma_data
from stepladder.diffusion.super_resolution import low_resolution, sides_of
from stepladder.diffusion.training.training_levels import Drawn, StepLevels, training_levels
from stepladder.diffusion.training.weighting import weight
from stepladder.errors import UserError
from stepladder.params import Diffusion, Params, Sampling
from stepladder.params.fitting import trainable
from stepladder.plugins import is_own
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Batch, Task

VALIDATION_STREAM = 2**40  # numbers of micro-batches stay below
PREVIEWED = 40
MOST_VALIDATED = 2048


class DiffusionTask(Task):
    """Learns to undo noise: draws a level for each picture, adds that much noise, and measures what the network makes of it.

    A batch holds ``images`` ``(n, C, H, W)`` uint8, ``labels`` ``(n,)``, ``text`` ``(n, L)`` where the model reads it, ``position``
    and ``size``, the examples of the micro-batch over all ranks. Levels, noise and hidden conditions are drawn for all of
    them from (seed, position), and a rank takes its own: the number of ranks does not change the result.
    """

    quartiles: Tensor
    description: DiffusionDescription
    shardable = True

    def __init__(
        self,
        description: DiffusionDescription,
        diffusion: Diffusion,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        previewed: Condition | None = None,
    ) -> None:
        super().__init__()
        self.description, self.diffusion, self.seed = description, diffusion, seed
        self.mine = slice(rank, None, world_size)
        self.process = of(description)
        self.model = build(description.model)
        self.levels = training_levels(self.process, diffusion, rank, world_size)
        self.previewed = previewed or {"labels": torch.arange(PREVIEWED) % 10 % max(len(description.classes), 1)}
        self.register_buffer("quartiles", torch.full((4,), torch.nan))
        steps = description.timesteps if self.process.has_steps else 4
        self.quarters = sorted({math.ceil(4 * (t + 1) / steps) for t in range(steps)})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        drawn, error, bound = self._errors(batch, batch["position"], training=True)
        losses = self._objective(drawn, error, bound)
        self.levels.remember(drawn, losses)
        self._log_quartiles(drawn.time, losses.detach())
        loss = (drawn.importance * losses).mean()
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Plain squared error at uniform times with the same noise every time, whatever the loss: it can be compared."""
        _, error, bound = self._errors(batch, VALIDATION_STREAM + batch_idx, training=False)
        size: Any = float(len(batch["labels"]))  # an int would be averaged over the ranks as one, and rounded down
        self.log("validation/loss", error.mean(), batch_size=size, sync_dist=True)
        if bound is not None:
            self.log("validation/bound", bound.mean(), batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.diffusion.training)

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column where classes are all there is, in at most ten steps."""
        from stepladder.data.grid import grid
        from stepladder.diffusion.sampling.drawing import draw

        sampling = Sampling.model_validate({"sampler": self.process.usual_sampler})
        steps = min(self.description.timesteps, 10)
        return grid(draw(self.model, self.description, self.previewed, steps, sampling, seed=self.seed), columns=10)

    def _objective(self, drawn: Drawn, error: Tensor, bound: Tensor | None) -> Tensor:
        """What is learned, ``(n,)``: see ``losses`` and docs/objectives.md."""
        d = self.diffusion
        if d.loss == "vlb":
            assert bound is not None
            return bound
        gamma = d.min_snr_gamma if d.weighting == "min_snr" else d.p2_gamma
        simple = weight(d.weighting, self.process, drawn.snr, gamma) * error
        return simple if bound is None else simple + d.vlb_weight * bound

    def _errors(self, batch: Batch, position: int, *, training: bool) -> tuple[Drawn, Tensor, Tensor | None]:
        """Of each picture the level, the squared error of the prediction, and the bound where the loss has it."""
        random = generator(self.seed, position)
        drawn = self.levels.draw(batch["size"], random, self.device, uniform=not training)
        if self.device.type != "cpu":
            random = generator(self.seed, position, device=self.device)
        x_0, eps, condition = self._pictures(batch, position, random, training=training)
        x = q_sample(x_0, eps, drawn.alpha, drawn.sigma)
        output = self.model(self.process.scale_input(x, drawn.sigma), drawn.time, condition)
        predicted, fraction = split(output.float(), x_0.shape[1])
        error = squared_error(predicted, self.process.target(x_0, eps, drawn.alpha, drawn.sigma))
        if self.diffusion.loss == "simple":
            return drawn, error, None
        kept = predicted.detach() if self.diffusion.loss == "hybrid" else predicted
        x_0_hat = self.process.to_x0(kept, x, drawn.alpha, drawn.sigma)
        assert isinstance(self.levels, StepLevels)  # the parameters refuse a bound in continuous time
        return drawn, error, self.levels.bound(drawn, x_0, x_0_hat, fraction)

    def _pictures(
        self, batch: Batch, position: int, random: torch.Generator, *, training: bool
    ) -> tuple[Tensor, Tensor, Condition]:
        """Data and noise ``(n, C, h, w)``, of the curriculum's side while it lasts, and what the network is told of them."""
        images, size, d = batch["images"], batch["size"], self.diffusion
        side = None
        if training:
            side = side_at(position, d.training.steps * d.training.accumulate, d.curriculum, d.curriculum_share)
        shape = images.shape[1:] if side is None else (images.shape[1], *sides_of(images, side))
        eps = self._drawn(torch.randn, (size, *shape), random)
        hidden, flipped = self._drawn(torch.rand, (2, size), random, dim=1)
        x_0 = images.float() / 127.5 - 1
        if training and d.flip:
            x_0 = torch.where(flipped[:, None, None, None] < 0.5, x_0.flip(3), x_0)
        condition: Condition = {key: batch[key] for key in ("labels", "text") if key in batch}
        if training:
            condition = hide(condition, hidden < d.label_dropout, len(self.description.classes))
        if d.low_resolution:
            low = low_resolution(x_0, d.low_resolution)
            noise = d.low_resolution_noise * self._drawn(torch.rand, (size,), random)
            low = low + noise[:, None, None, None] * self._drawn(torch.randn, (size, *low.shape[1:]), random)
            condition |= {"low_resolution": low, "low_resolution_noise": noise}
        return (x_0 if side is None else low_resolution(x_0, side)), eps, condition

    def _drawn(self, distribution: Any, shape: tuple[int, ...], random: torch.Generator, dim: int = 0) -> Tensor:
        """This rank's part along ``dim`` of what is drawn for all."""
        drawn: Tensor = distribution(shape, generator=random, device=self.device)
        return drawn[self.mine] if dim == 0 else drawn[:, self.mine]

    def _log_quartiles(self, time: Tensor, losses: Tensor) -> None:
        """The mean loss in each quarter of time; of a quarter that no picture fell into, the last one known."""
        quarter = (4 * time).ceil().clamp(1, 4)
        inside = (quarter[:, None] == torch.arange(1, 5, device=time.device)).to(losses.dtype)
        means = (losses @ inside) / inside.sum(0)
        known = torch.where(self.quartiles.isnan(), losses.mean(), self.quartiles)
        means = torch.where(means.isnan(), known, means)
        self.quartiles.copy_(means)
        for q in self.quarters:
            self.log(f"train/loss_q{q}", means[q - 1])


def side_at(k: int, micro_batches: int, curriculum: tuple[int, ...], share: float) -> int | None:
    """Side of the pictures of the ``k``-th of all ``micro_batches``: of ``curriculum`` in turn, in equal parts of the first
    ``share`` of them; None for the full side."""  # fmt: skip
    stage = int(k / (share * micro_batches) * len(curriculum))
    return curriculum[stage] if stage < len(curriculum) else None


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training of T = ``timesteps`` that ``params`` describes, on pictures prepared in ``data``.

    Raises:
        UserError: T is missing, the batch does not divide, or the data has not what the parameters ask of it.
    """
    if timesteps is None:
        raise UserError("A diffusion model needs its number of timesteps: --timesteps T.")
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    section, training = params.diffusion, params.diffusion.training
    trainable("diffusion", params, train.card, world_size)
    size = training.batch_size // training.accumulate
    description = configuration(section, train.card, timesteps)
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def micro_batch(k: int) -> Batch:
        rows = shuffle.rows(k)[rank::world_size]
        return _batch(train, rows, size, section.text) | {"position": k}

    order = shuffle.all(len(test.labels))[:MOST_VALIDATED]
    chunks = np.array_split(order, -(-len(order) // size))  # of one length, so that each rank has a part of each
    validation = [_batch(test, chunk[rank::world_size], len(chunk), section.text) for chunk in chunks]
    task = DiffusionTask(description, section, params.seed, rank, world_size, _previewed(section, test))
    validation = [batch for batch in validation if len(batch["labels"])]
    tokenizer = data / "tokenizer.json"
    return Experiment(task, micro_batch, validation, {tokenizer.name: tokenizer} if tokenizer.exists() else {})


def configuration(section: Diffusion, card: dict[str, Any], timesteps: int) -> DiffusionDescription:
    """What a model folder says of its model: all that using it takes beside the weights."""
    classes = card["classes"] if section.conditional else []
    text = card["text"] if section.text else {"vocabulary": 0, "length": 0}
    channels = card["shape"][0]
    network = {
        "backbone": section.backbone,
        "shape": card["shape"],
        "classes": len(classes),
        "outputs": 2 * channels if section.variance == "learned_range" else channels,
        "vocabulary": text["vocabulary"],
        "text_length": text["length"],
        "text_encoder": section.text_encoder.model_dump(),
        "low_resolution": section.low_resolution,
    }
    return DiffusionDescription(
        model=described(network | section.arguments()),
        process=section.process,
        schedule=section.schedule,
        log_snr=section.log_snr,
        betas=section.betas,
        zero_terminal_snr=section.zero_terminal_snr,
        prediction=section.prediction,
        variance=section.variance,
        sigma_data=sigma_data(card),
        timesteps=timesteps,
        classes=classes,
        label_dropout=section.label_dropout,
        data=Data.of(card),
    )


def network(params: Params, card: dict[str, Any]) -> nn.Module:
    """The network that ``params`` describe for the pictures of ``card``, without its weights: for its parts' names."""
    with torch.device("cpu" if is_own(params.diffusion.backbone) else "meta"):  # one's own is tried
        return build(configuration(params.diffusion, card, 1).model)


def _batch(arrays: ImageArrays, rows: Any, size: int, text: bool) -> Batch:
    labels = torch.from_numpy(arrays.labels[rows]).clamp(min=0)
    batch: Batch = {"images": torch.from_numpy(arrays.images[rows]), "labels": labels, "size": size}
    texts = getattr(arrays, "texts", None)
    return batch | {"text": torch.from_numpy(texts[rows])} if text and texts is not None else batch


def _previewed(section: Diffusion, test: ImageArrays) -> Condition | None:
    """Conditions of held-out pictures, where more than the class is asked for."""
    if not (section.text or section.low_resolution):
        return None
    batch = _batch(test, range(min(PREVIEWED, len(test.labels))), PREVIEWED, section.text)
    condition: Condition = {key: batch[key] for key in ("labels", "text") if key in batch}
    if section.low_resolution:
        low = low_resolution(batch["images"].float() / 127.5 - 1, section.low_resolution)
        condition |= {"low_resolution": low, "low_resolution_noise": torch.zeros(len(low))}
    return condition
