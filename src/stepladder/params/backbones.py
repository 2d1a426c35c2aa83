"""The denoising networks: the arguments of each, and the checks before one is built.

``diffusion.backbone`` names one of ``BACKBONES``; its class is in ``diffusion/networks/NAME.py``. A model's folder
describes its network by the same arguments (``diffusion.networks.description``).
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from stepladder import plugins
from stepladder.params.section import Section
from stepladder.params.sides import Sides, halved


class Backbone(Section):
    """The arguments of a denoising network: a section of the parameters by its name.

    Attributes:
        PARTS: names of the network's parts; some exist only with the condition that they serve.
        ABSENT: values of newer arguments that an older model's folder does not have; never changes.
        VARIANTS: an argument whose choices ``stepladder cost`` compares, and what they vary.
    """

    PARTS: ClassVar[tuple[str, ...]]
    ABSENT: ClassVar[dict[str, object]] = {}
    VARIANTS: ClassVar[tuple[str, str] | None] = None

    def unit(self) -> tuple[int, str]:
        """The number that the sides of pictures must be multiples of, and the argument that requires it."""
        raise NotImplementedError

    def fits(self, sides: Sides, named: str) -> None:
        """Raise ``ValueError``, with keys and remedy, where it cannot cut pictures of ``sides``, called ``named``."""
        raise NotImplementedError


class UNet(Backbone):
    """The convolutional denoising network."""

    PARTS: ClassVar[tuple[str, ...]] = (
        "time", "label", "text", "text_mean", "noise", "stem", "down", "middle", "up", "head_norm", "head", "inputs", "outputs",
        "modulation",
    )  # fmt: skip
    ABSENT: ClassVar[dict[str, object]] = {
        "middle_attention": True, "norm_groups": 8, "scale_shift": True, "resample": "conv", "conv": "full", "progressive": "none",
        "activation_checkpointing": False,
    }  # fmt: skip
    VARIANTS = ("conv", "convolutions")

    channels: int = Field(24, ge=8, le=512, description="channels of the first level")
    channel_mult: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (1, 2),
        min_length=1,
        max_length=6,
        description="channels of each level, in multiples of the first; each level halves the side",
    )
    blocks: int = Field(1, ge=1, le=8, description="residual blocks a level")
    attention_resolutions: tuple[int, ...] = Field((4,), description="sides, in pixels, at which there is attention")
    middle_attention: bool = Field(True, description="attention between the two blocks in the middle")
    heads: int = Field(4, ge=1, le=32, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in residual blocks")
    norm_groups: int = Field(8, ge=1, le=64, description="groups of the group normalisation, at most; published: 32")
    scale_shift: bool = Field(True, description="the time scales and shifts the norm (Improved DDPM); else it is added")
    resample: Literal["conv", "residual"] = Field(
        "conv", description="what halves and doubles the side: a convolution, or a residual block"
    )
    conv: Literal["full", "depthwise_separable", "fft"] = Field(
        "full", description="3x3 convolutions of the residual blocks: full, depthwise separable, or spectral"
    )
    progressive: Literal["none", "input", "output", "both"] = Field(
        "none", description="multi-scale pictures put into, or summed out of, every level"
    )
    activation_checkpointing: bool = Field(False, description="less memory for a second forward")

    def unit(self) -> tuple[int, str]:
        return 2 ** (len(self.channel_mult) - 1), "channel_mult"

    def fits(self, sides: Sides, named: str) -> None:
        halved(sides, len(self.channel_mult) - 1, "diffusion.unet.channel_mult", self.channel_mult, named)

    @model_validator(mode="after")
    def _heads_divide(self) -> UNet:
        if any(self.channels * m % self.heads for m in self.channel_mult):
            raise ValueError(
                f"diffusion.unet.channels={self.channels} times channel_mult is not a multiple of heads={self.heads}; change one "
                "of them"
            )
        return self


class DiT(Backbone):
    """The Transformer denoising network."""

    PARTS: ClassVar[tuple[str, ...]] = (
        "time", "label", "text", "text_mean", "noise", "stem", "blocks", "head_modulation", "head",
    )  # fmt: skip
    ABSENT: ClassVar[dict[str, object]] = {"activation_checkpointing": False}

    patch: int = Field(2, ge=1, le=64, description="side of a patch in pixels")
    d_model: int = Field(96, ge=16, le=4096, description="width")
    depth: int = Field(6, ge=1, le=64, description="blocks")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    mlp_ratio: float = Field(4.0, gt=0, le=16, description="width of the feed-forward layers, in widths")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after attention and feed-forward")
    activation_checkpointing: bool = Field(False, description="less memory for a second forward")

    def unit(self) -> tuple[int, str]:
        return self.patch, "patch"

    def fits(self, sides: Sides, named: str) -> None:
        if any(side % self.patch for side in sides):
            raise ValueError(
                f"Pictures of {named} cannot be cut into patches of diffusion.dit.patch={self.patch}; change one of them"
            )

    @model_validator(mode="after")
    def _widths(self) -> DiT:
        if self.d_model % self.heads or self.d_model % 4:
            raise ValueError(
                f"diffusion.dit.d_model={self.d_model} is not a multiple of 4 and of its heads={self.heads}; change one of them"
            )
        if int(self.d_model * self.mlp_ratio) < 1:
            raise ValueError(
                f"diffusion.dit.mlp_ratio={self.mlp_ratio:g} of d_model={self.d_model} leaves the feed-forward layers no width; "
                "give a larger one"
            )
        return self


def _check_custom_network(name: str, network: Any) -> Any:
    """Check a custom network's signature; it is tried when it is built, because that needs the pictures."""
    from torch import nn

    if not (inspect.isclass(network) and issubclass(network, nn.Module)):
        raise plugins.Unfit("it is no such class")
    plugins.check_signature(network, shape=(1, 8, 8), classes=10, outputs=1)
    plugins.check_signature(network.forward, "self", "x", "time", "condition")
    return network


BACKBONE = plugins.Kind(
    "diffusion.backbone",
    "a subclass of torch.nn.Module that is built with shape=(C, H, W), classes and outputs, and called with x (N, C, H, W), time (N,) "
    "in [0, 1] and condition, a dictionary of tensors, and gives (N, outputs, H, W)",
    _check_custom_network,
)
BACKBONES: dict[str, type[Backbone]] = plugins.Table(BACKBONE, {"unet": UNet, "dit": DiT})
