"""Training a diffusion model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from stepladder.data.card import PicturesCard
from stepladder.data.image_arrays import scaled
from stepladder.description import Data
from stepladder.diffusion.losses import squared_error
from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.conditions import Condition, drop
from stepladder.diffusion.networks.description import DiffusionDescription, described
from stepladder.diffusion.processes.process import q_sample, split
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.processes.settings import sigma_data
from stepladder.diffusion.super_resolution import low_resolution, sides_of
from stepladder.diffusion.training.training_levels import BatchLevels, StepLevels, training_levels
from stepladder.diffusion.training.weighting import weight
from stepladder.errors import UserError
from stepladder.params import Diffusion, Params, Sampling
from stepladder.plugins import is_custom
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.pictures import VALIDATION_STREAM, Pictures, PictureTask
from stepladder.tasks.task import Batch

PREVIEWED = 40


class DiffusionTask(PictureTask):
    """Learns to denoise: samples a noise level for each picture, adds that noise, and predicts it or the picture."""

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
        super().__init__(description, diffusion.training, seed, rank, world_size)
        self.diffusion, self.process = diffusion, process_of(description)
        self.model = build(description.model)
        self.levels = training_levels(self.process, diffusion, rank, world_size)
        self.previewed = previewed or {"labels": torch.arange(PREVIEWED) % 10 % max(len(description.classes), 1)}
        self.register_buffer("quartiles", torch.full((4,), torch.nan))
        steps = description.timesteps if self.process.has_steps else 4
        self.quarters = sorted({math.ceil(4 * (t + 1) / steps) for t in range(steps)})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        levels, error, bound = self._errors(batch, batch["position"], training=True)
        losses = self._objective(levels, error, bound)
        self.levels.remember(levels, losses)
        self._log_quartiles(levels.time, losses.detach())
        loss = (levels.importance * losses).mean()
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Squared error at uniform times with the same noise every time, whatever the loss: so it can be compared."""
        _, error, bound = self._errors(batch, VALIDATION_STREAM + batch_idx, training=False)
        self.log_validation(batch, loss=error.mean(), **({} if bound is None else {"bound": bound.mean()}))

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column where classes are all there is, in at most ten steps."""
        from stepladder.data.grid import grid
        from stepladder.diffusion.sampling.drawing import draw

        sampling = Sampling.model_validate({"sampler": self.process.usual_sampler})
        steps = min(self.description.timesteps, 10)
        return grid(draw(self.model, self.description, self.previewed, steps, sampling, seed=self.seed), columns=10)

    def _objective(self, levels: BatchLevels, error: Tensor, bound: Tensor | None) -> Tensor:
        """The loss of each picture, ``(n,)``: see ``losses`` and docs/objectives.md."""
        d = self.diffusion
        if d.loss == "vlb":
            assert bound is not None
            return bound
        gamma = d.min_snr_gamma if d.weighting == "min_snr" else d.p2_gamma
        simple = weight(d.weighting, self.process, levels.snr, gamma) * error
        return simple if bound is None else simple + d.vlb_weight * bound

    def _errors(self, batch: Batch, position: int, *, training: bool) -> tuple[BatchLevels, Tensor, Tensor | None]:
        """The level of each picture, the squared error of its prediction, and the bound where the loss uses it."""
        on_cpu, random = self.generators(position)
        levels = self.levels.draw(batch["size"], on_cpu, self.device, uniform=not training)
        x_0, eps, condition = self._pictures(batch, position, random, training=training)
        x = q_sample(x_0, eps, levels.alpha, levels.sigma)
        output = self.model(self.process.scale_input(x, levels.sigma), levels.time, condition)
        predicted, fraction = split(output.float(), x_0.shape[1])
        error = squared_error(predicted, self.process.target(x_0, eps, levels.alpha, levels.sigma))
        if self.diffusion.loss == "simple":
            return levels, error, None
        kept = predicted.detach() if self.diffusion.loss == "hybrid" else predicted
        x_0_hat = self.process.to_x0(kept, x, levels.alpha, levels.sigma)
        assert isinstance(self.levels, StepLevels)  # the parameters refuse a bound in continuous time
        return levels, error, self.levels.bound(levels, x_0, x_0_hat, fraction)

    def _pictures(
        self, batch: Batch, position: int, random: torch.Generator, *, training: bool
    ) -> tuple[Tensor, Tensor, Condition]:
        """Data and noise ``(n, C, h, w)``, at the curriculum's side while that lasts, and their condition."""
        images, size, d = batch["images"], batch["size"], self.diffusion
        side = None
        if training:
            side = side_at(position, d.training.steps * d.training.accumulate, d.curriculum, d.curriculum_share)
        shape = images.shape[1:] if side is None else (images.shape[1], *sides_of(images, side))
        eps = self.sample_for_ranks(torch.randn, (size, *shape), random)
        u_drop, u_flip = self.sample_for_ranks(torch.rand, (2, size), random, dim=1)
        x_0 = scaled(images)
        if training and d.flip:
            x_0 = torch.where(u_flip[:, None, None, None] < 0.5, x_0.flip(3), x_0)
        condition: Condition = {key: batch[key] for key in ("labels", "text") if key in batch}
        if training:
            condition = drop(condition, u_drop < d.label_dropout, len(self.description.classes))
        if d.low_resolution:
            low = low_resolution(x_0, d.low_resolution)
            noise = d.low_resolution_noise * self.sample_for_ranks(torch.rand, (size,), random)
            low = low + noise[:, None, None, None] * self.sample_for_ranks(torch.randn, (size, *low.shape[1:]), random)
            condition |= {"low_resolution": low, "low_resolution_noise": noise}
        return (x_0 if side is None else low_resolution(x_0, side)), eps, condition

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
    ``share`` of them; None for the full side.
    """
    stage = int(k / (share * micro_batches) * len(curriculum))
    return curriculum[stage] if stage < len(curriculum) else None


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training of T = ``timesteps`` that ``params`` describes, on pictures prepared in ``data``.

    Raises:
        UserError: T is missing, the batch does not divide, or the data lacks what the parameters need.
    """
    if timesteps is None:
        raise UserError("A diffusion model needs its number of timesteps: --timesteps T.")
    section = params.diffusion
    pictures = Pictures("diffusion", params, section.training, data, rank, world_size, section.text)
    description = configuration(section, pictures.card, timesteps)
    needs_pictures = section.text or section.low_resolution
    previewed = preview_condition(pictures, section.low_resolution) if needs_pictures else None
    task = DiffusionTask(description, section, params.seed, rank, world_size, previewed)
    tokenizer = data / "tokenizer.json"
    files = {tokenizer.name: tokenizer} if tokenizer.exists() else {}
    return Experiment(task, pictures.micro_batch, pictures.validation(even=True), files)


def preview_condition(pictures: Pictures, side: int) -> Condition:
    """The condition of the first held-out pictures, for previews; with their low resolution if ``side`` is not 0."""
    batch = pictures.batch(pictures.test, np.arange(PREVIEWED) % len(pictures.test.labels))
    images = batch.pop("images")
    if side:
        low = low_resolution(scaled(images), side)
        batch |= {"low_resolution": low, "low_resolution_noise": torch.zeros(len(low))}
    return batch


def configuration(section: Diffusion, card: PicturesCard, timesteps: int) -> DiffusionDescription:
    """The description in a model folder: all that using the model needs except the weights."""
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


def network(params: Params, card: PicturesCard) -> nn.Module:
    """The network that ``params`` describe for the pictures of ``card``, without weights: for its parts' names."""
    with torch.device("cpu" if is_custom(params.diffusion.backbone) else "meta"):  # a custom one runs once
        return build(configuration(params.diffusion, card, 1).model)
