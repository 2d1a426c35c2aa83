"""The models that diffusion is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stepladder.params.section import Section, Training


class VAE(Section):
    """The variational autoencoder."""

    latent: int = Field(16, ge=1, le=1024, description="dimension of the latent variable")
    channels: int = Field(36, ge=4, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 4), min_length=1, max_length=6, description="channels of each level; each halves the side"
    )
    beta: float = Field(1.0, gt=0, le=100, description="weight of the divergence from the prior")
    variance: Literal["shared", "pixel"] = Field(
        "shared", description="of the decoder: one learned number, or decoded for every pixel"
    )
    conditional: bool = Field(True, description="conditioned on the class, where the data has classes")
    training: Training = Training(steps=1100, batch_size=64, learning_rate=4e-3, warmup_steps=50, validate_every=550)


class GAN(Section):
    """The generative adversarial network."""

    loss: Literal["non_saturating", "wgan_gp"] = Field(
        "non_saturating", description="with R1, or with a gradient penalty"
    )
    latent: int = Field(64, ge=1, le=1024, description="dimension of the latent variable")
    channels: int = Field(32, ge=4, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 4), min_length=1, max_length=6, description="channels of each level; each halves the side"
    )
    r1: float = Field(0.1, ge=0, le=1000, description="weight of R1 (non_saturating)")
    gradient_penalty: float = Field(10.0, ge=0, le=1000, description="weight of the gradient penalty (wgan_gp)")
    critic_steps: int = Field(1, ge=1, le=20, description="discriminator steps a generator step; wgan_gp: 5 published")
    beta1: float = Field(0.0, ge=0, lt=1, description="Adam's first decay rate")
    discriminator_learning_rate: float = Field(3e-3, gt=0, le=1, description="its peak; the generator's is training's")
    conditional: bool = Field(True, description="conditioned on the class, where the data has classes")
    training: Training = Training(
        steps=950, batch_size=64, learning_rate=3e-4, schedule="linear", warmup_steps=0, gradient_clip=0.0,
        ema_half_life=0.1, validate_every=475,
    )  # fmt: skip
