"""Training a diffusion model, and using a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stepladder.data.images import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.diffusion.backbones import build
from stepladder.diffusion.conditions import hide
from stepladder.diffusion.drawing import draw, grid, load
from stepladder.diffusion.process import q_sample, target
from stepladder.diffusion.schedules import schedule
from stepladder.errors import UserError
from stepladder.params import Diffusion, Params, Sampling
from stepladder.training.experiment import Batch, Experiment
from stepladder.training.optim import configure
from stepladder.training.randomness import generator

__all__ = ["DiffusionTask", "draw", "experiment", "grid", "load"]

VALIDATION_STREAM = 2**40  # numbers of micro-batches stay below


class DiffusionTask(pl.LightningModule):
    """Learns to undo noise: mean squared error of the prediction at a uniform timestep (Ho et al. 2020, equation 14).

    A batch holds ``images`` ``(n, C, H, W)`` uint8, ``labels`` ``(n,)``, ``position`` and ``size``, the examples of the
    micro-batch over all ranks. Timesteps, noise and hidden labels are drawn for all of them from (seed, position), and a
    rank takes its own: the number of ranks does not change the result.
    """

    def __init__(
        self, config: dict[str, Any], diffusion: Diffusion, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.config, self.diffusion, self.seed = config, diffusion, seed
        self.rank, self.world_size = rank, world_size
        self.model = build(config["model"])
        signal = schedule(config["schedule"], config["timesteps"]).alphas_cumprod
        self.register_buffer("signal", torch.tensor(signal, dtype=torch.float32), persistent=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self._loss(batch, batch["position"], self.diffusion.label_dropout, self.diffusion.flip)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._loss(batch, VALIDATION_STREAM + batch_idx, 0.0, False)
        size: Any = float(len(batch["labels"]))  # an int would be averaged over the ranks as one, and rounded down
        self.log("validation/loss", loss, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.diffusion.training)

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column, in at most ten steps."""
        classes = max(len(self.config["classes"]), 1)
        labels = torch.arange(40) % 10 % classes
        steps = min(self.config["timesteps"], 10)
        return grid(draw(self.model, self.config, {"labels": labels}, steps, Sampling(), seed=self.seed), columns=10)

    def _loss(self, batch: Batch, position: int, label_dropout: float, flip: bool) -> Tensor:
        images, labels, size = batch["images"], batch["labels"], batch["size"]
        random = generator(self.seed, position, device=self.device)
        t = self._mine(torch.randint(self.config["timesteps"], (size,), generator=random, device=self.device))
        eps = self._mine(torch.randn((size, *images.shape[1:]), generator=random, device=self.device))
        hidden, flipped = self._mine(torch.rand((2, size), generator=random, device=self.device).T).T
        x_0 = images.float() / 127.5 - 1
        if flip:
            x_0 = torch.where(flipped[:, None, None, None] < 0.5, x_0.flip(3), x_0)
        condition = hide({"labels": labels}, hidden < label_dropout, len(self.config["classes"]))
        signal = self.signal[t][:, None, None, None]  # type: ignore[index]
        output = self.model(q_sample(x_0, eps, signal), (t + 1) / self.config["timesteps"], condition)
        return F.mse_loss(output.float(), target(self.config["prediction"], x_0, eps, signal))

    def _mine(self, drawn: Tensor) -> Tensor:
        return drawn[self.rank :: self.world_size]


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training of T = ``timesteps`` that ``params`` describes, on pictures prepared in ``data``.

    Raises:
        UserError: T is missing, or the batch does not divide.
    """
    if timesteps is None:
        raise UserError("A diffusion model needs its number of timesteps: --timesteps T.")
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    section, training = params.diffusion, params.diffusion.training
    size = training.batch_size // training.accumulate
    if size * training.accumulate != training.batch_size or size % world_size:
        raise UserError(
            f"diffusion.training.batch_size={training.batch_size} cannot be divided into accumulate={training.accumulate} "
            f"micro-batches for {world_size} devices; make it a multiple."
        )
    classes = train.card["classes"] if section.conditional else []
    config = {
        "model": {"backbone": section.backbone, "shape": train.card["shape"], "classes": len(classes)}
        | getattr(section, section.backbone).model_dump(),
        "schedule": section.schedule,
        "prediction": section.prediction,
        "timesteps": timesteps,
        "classes": classes,
        "label_dropout": section.label_dropout,
        "data": {key: train.card[key] for key in ("name", "source", "content_hash")},
    }
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def micro_batch(k: int) -> Batch:
        rows = shuffle.rows(k)[rank::world_size]
        return _batch(train, rows, size) | {"position": k}

    starts = range(0, min(len(test.labels), 2048), size)
    validation = [
        _batch(test, shuffle.all(len(test.labels))[s : s + size][rank::world_size], min(size, len(test.labels) - s))
        for s in starts
    ]
    task = DiffusionTask(config, section, params.seed, rank, world_size)
    return Experiment(task, micro_batch, [batch for batch in validation if len(batch["labels"])])


def _batch(arrays: ImageArrays, rows: Any, size: int) -> Batch:
    labels = torch.from_numpy(arrays.labels[rows]).clamp(min=0)
    return {"images": torch.from_numpy(arrays.images[rows]), "labels": labels, "size": size}
