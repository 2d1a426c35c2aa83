"""Training a variational autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from stepladder.baselines import autoencoder
from stepladder.baselines.batches import batches
from stepladder.baselines.description import VAEDescription, VAENetwork
from stepladder.baselines.drawing import preview
from stepladder.description import Data
from stepladder.params import VAE, Params
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Batch, Task

VALIDATION_STREAM = 2**40  # numbers of micro-batches stay below


class VAETask(Task):
    """Maximises the evidence lower bound of uint8 pictures, in nats a value; ``beta`` weighs the divergence in training.

    The noise is drawn for the whole micro-batch from (seed, position), and a rank takes its own.
    """

    model: autoencoder.VAE
    description: VAEDescription

    def __init__(
        self, description: VAEDescription, section: VAE, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.description, self.section, self.seed = description, section, seed
        self.rank, self.world_size = rank, world_size
        self.model = autoencoder.VAE(**description.model.model_dump())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        reconstruction, divergence = self._bound(batch, batch["position"])
        loss: Tensor = (self.section.beta * divergence - reconstruction).mean() / batch["images"][0].numel()
        self.log("train/loss", loss.detach())
        self.log("train/reconstruction", reconstruction.detach().mean())
        self.log("train/divergence", divergence.detach().mean())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        reconstruction, divergence = self._bound(batch, VALIDATION_STREAM + batch_idx)
        dimensions, size = batch["images"][0].numel(), float(len(batch["labels"]))
        figures = {
            "loss": (self.section.beta * divergence - reconstruction).mean() / dimensions,
            "reconstruction": reconstruction.mean(),
            "divergence": divergence.mean(),
            "bits_per_dim": autoencoder.bits_per_dim(reconstruction - divergence, dimensions).mean(),
        }
        for name, figure in figures.items():
            self.log(f"validation/{name}", figure, batch_size=size, sync_dist=True)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.section.training)

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column."""
        return preview(self.model, self.description, self.seed)

    def _bound(self, batch: Batch, position: int) -> autoencoder.Bound:
        x, labels = batch["images"].float() / 127.5 - 1, batch["labels"]
        random = generator(self.seed, position, device=self.device)
        eps = torch.randn((batch["size"], self.section.latent), generator=random, device=self.device)
        posterior = self.model.encode(x, labels)
        mine = eps[self.rank :: self.world_size]
        return autoencoder.bound(x, posterior, lambda z: self.model.decode(z, labels), mine)


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The autoencoder's training on pictures prepared in ``data``; ``timesteps`` is not used.

    Raises:
        UserError: nothing is prepared, the batch does not divide, or the pictures cannot be halved so often.
    """
    section = params.vae
    card, micro_batch, validation = batches("vae", params, data, rank, world_size)
    network = section.model_dump(include={"channels", "channel_mult", "latent", "variance"})
    classes = card["classes"] if section.conditional else []
    described = VAENetwork(shape=card["shape"], classes=len(classes), **network)
    description = VAEDescription(model=described, classes=classes, data=Data.of(card))
    return Experiment(VAETask(description, section, params.seed, rank, world_size), micro_batch, validation)
