"""The descriptions of the baselines."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from stepladder.description import Count, Description, Name, Number, Record, Shape


class GANNetwork(Record):
    """Arguments of ``adversarial.Generator``."""

    shape: Shape
    classes: Number
    channels: Count
    channel_mult: tuple[Count, ...] = Field(min_length=1, max_length=32)
    latent: Count


class VAENetwork(GANNetwork):
    """Arguments of ``autoencoder.VAE``."""

    variance: Literal["shared", "pixel"]


class GANDescription(Description):
    """A generative adversarial network, of which only the generator is kept."""

    kind: ClassVar[str] = "gan"
    family: Literal["gan"] = "gan"
    model: GANNetwork
    classes: tuple[Name, ...]


class VAEDescription(Description):
    """A variational autoencoder."""

    kind: ClassVar[str] = "vae"
    family: Literal["vae"] = "vae"
    model: VAENetwork
    classes: tuple[Name, ...]


BaselineDescription = GANDescription | VAEDescription
