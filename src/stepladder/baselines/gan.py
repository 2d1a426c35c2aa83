"""Training a generative adversarial network.

One optimiser step trains one of the two networks: the discriminator ``critic_steps`` times, then the generator once, and
so on. One AdamW holds both. The network whose turn it is not gets no gradients, and AdamW leaves it as it is, its
moments and its own count of steps included. So a step is like one of any other training: the loop, the checkpoints, the
average, clipping, accumulation and exact resume need no code for two networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.func import functional_call

from stepladder.baselines.adversarial import (
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1,
)
from stepladder.baselines.description import GANDescription, GANNetwork
from stepladder.baselines.drawing import preview
from stepladder.data.image_arrays import scaled
from stepladder.description import Data
from stepladder.params import GAN, Params
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import adamw
from stepladder.tasks.pictures import VALIDATION_STREAM, Pictures, PictureTask
from stepladder.tasks.task import Batch


class GANTask(PictureTask):
    """Two networks in turn, see above. ``model``, which is averaged and exported, is the generator.

    Generated pictures have the classes of the batch's real ones.
    """

    losses: Tensor
    description: GANDescription
    find_unused_parameters = True  # of a step, for ranks: those of the network whose turn it is not

    def __init__(
        self, description: GANDescription, section: GAN, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(description, section.training, seed, rank, world_size)
        self.section = section
        network = description.model.model_dump()
        self.model = Generator(**network)
        self.discriminator = Discriminator(**{key: network[key] for key in network if key != "latent"})
        self.register_buffer("losses", torch.zeros(2))  # the latest of generator and discriminator

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        real, labels = scaled(batch["images"]), batch["labels"]
        codes, share = self._noise(batch["size"], batch["position"])
        if self.is_generators_turn(batch["position"]):
            parameters = _detached(self.discriminator)
            logits = functional_call(self.discriminator, parameters, (self.model(codes, labels), labels))
            loss = generator_loss(self.section.loss, logits)
            self.losses[0] = loss.detach()
        else:
            with torch.no_grad():
                pictures = self.model(codes, labels)
            loss = self._discriminator_loss(real, pictures, labels)
            self.losses[1] = loss.detach()
            loss = loss + self._penalty(real, pictures, labels, share)
        for name, latest in zip(("generator_loss", "discriminator_loss"), self.losses.clone(), strict=True):
            self.log(f"train/{name}", latest)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        real, labels = scaled(batch["images"]), batch["labels"]
        codes, _ = self._noise(batch["size"], VALIDATION_STREAM + batch_idx)
        pictures = self.model(codes, labels)
        self.log_validation(
            batch,
            generator_loss=generator_loss(self.section.loss, self.discriminator(pictures, labels)),
            discriminator_loss=self._discriminator_loss(real, pictures, labels),
        )

    def configure_optimizers(self) -> Any:
        """One AdamW over both, each at its own learning rate; one course for both rates."""
        section = self.section
        rates = {self.model: section.training.learning_rate, self.discriminator: section.discriminator_learning_rate}
        return adamw(rates, section.training, section.beta1)

    def is_generators_turn(self, position: int) -> bool:
        """Whether the micro-batch at ``position`` trains the generator."""
        turns = self.section.critic_steps + 1
        return position // self.section.training.accumulate % turns == turns - 1

    def preview(self) -> Image.Image:
        """Forty pictures, ten a row, one class a column."""
        return preview(self.model, self.description, self.seed)

    def _discriminator_loss(self, real: Tensor, pictures: Tensor, labels: Tensor) -> Tensor:
        logits = self.discriminator(torch.cat([real, pictures]), torch.cat([labels, labels]))
        return discriminator_loss(self.section.loss, *logits.chunk(2))

    def _penalty(self, real: Tensor, pictures: Tensor, labels: Tensor, share: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            logits: Tensor = self.discriminator(x, labels)
            return logits

        if self.section.loss == "wgan_gp":
            return self.section.gradient_penalty * gradient_penalty(critic, real, pictures, share)
        return self.section.r1 * r1(critic, real) if self.section.r1 else torch.zeros((), device=real.device)

    def _noise(self, size: int, position: int) -> tuple[Tensor, Tensor]:
        """This rank's codes ``(n, latent)``, and the shares ``(n,)`` of real pictures where the gradient penalty is taken."""
        _, random = self.generators(position)
        codes = self.sample_for_ranks(torch.randn, (size, self.section.latent), random)
        return codes, self.sample_for_ranks(torch.rand, (size,), random)


def _detached(network: nn.Module) -> dict[str, Tensor]:
    """The parameters of ``network``, detached, so that they get no gradients."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The adversarial training on pictures prepared in ``data``.

    Raises:
        UserError: nothing is prepared, the batch does not divide, or the pictures cannot be halved so often.
    """
    section = params.gan
    pictures = Pictures("gan", params, section.training, data, rank, world_size)
    network = section.model_dump(include={"channels", "channel_mult", "latent"})
    classes = pictures.card["classes"] if section.conditional else []
    described = GANNetwork(shape=pictures.card["shape"], classes=len(classes), **network)
    description = GANDescription(model=described, classes=classes, data=Data.of(pictures.card))
    task = GANTask(description, section, params.seed, rank, world_size)
    return Experiment(task, pictures.micro_batch, pictures.validation())
