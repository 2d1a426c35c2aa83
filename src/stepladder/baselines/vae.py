"""Training a variational autoencoder."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stepladder.baselines import autoencoder
from stepladder.baselines.description import VAEDescription, VAENetwork
from stepladder.baselines.drawing import preview
from stepladder.data.image_arrays import scaled
from stepladder.description import Data
from stepladder.params import VAE, Params
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.pictures import VALIDATION_STREAM, Pictures, PictureTask
from stepladder.tasks.task import Batch


class VAETask(PictureTask):
    """Maximises the evidence lower bound of uint8 pictures, in nats a value; ``beta`` weighs the divergence in training."""

    model: autoencoder.VAE
    description: VAEDescription

    def __init__(
        self, description: VAEDescription, section: VAE, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(description, section.training, seed, rank, world_size)
        self.section = section
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
        dimensions = batch["images"][0].numel()
        self.log_validation(
            batch,
            loss=(self.section.beta * divergence - reconstruction).mean() / dimensions,
            reconstruction=reconstruction.mean(),
            divergence=divergence.mean(),
            bits_per_dim=autoencoder.bits_per_dim(reconstruction - divergence, dimensions).mean(),
        )

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column."""
        return preview(self.model, self.description, self.seed)

    def _bound(self, batch: Batch, position: int) -> autoencoder.Bound:
        x, labels = scaled(batch["images"]), batch["labels"]
        _, random = self.generators(position)
        eps = self.sample_for_ranks(torch.randn, (batch["size"], self.section.latent), random)
        return autoencoder.bound(x, self.model.encode(x, labels), lambda z: self.model.decode(z, labels), eps)


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The autoencoder's training on pictures prepared in ``data``.

    Raises:
        UserError: nothing is prepared, the batch does not divide, or the pictures cannot be halved so often.
    """
    section = params.vae
    pictures = Pictures("vae", params, section.training, data, rank, world_size)
    network = section.model_dump(include={"channels", "channel_mult", "latent", "variance"})
    classes = pictures.card["classes"] if section.conditional else []
    described = VAENetwork(shape=pictures.card["shape"], classes=len(classes), **network)
    description = VAEDescription(model=described, classes=classes, data=Data.of(pictures.card))
    task = VAETask(description, section, params.seed, rank, world_size)
    return Experiment(task, pictures.micro_batch, pictures.validation())
