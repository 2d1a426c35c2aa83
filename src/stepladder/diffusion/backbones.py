"""The denoising network that a model's configuration describes."""

from __future__ import annotations

from typing import Any

from torch import nn

from stepladder.diffusion.unet import UNet


def build(model: dict[str, Any]) -> nn.Module:
    """The network of ``config["model"]``: its ``backbone`` and that one's arguments."""
    known = ("shape", "channels", "channel_mult", "blocks", "attention_resolutions", "heads", "dropout", "classes")
    return UNet(**{key: model[key] for key in known})
