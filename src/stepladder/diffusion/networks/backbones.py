"""The denoising network that a model's configuration describes."""

from __future__ import annotations

from typing import Any

from torch import nn

from stepladder.diffusion.networks.dit import DiT
from stepladder.diffusion.networks.unet import UNet
from stepladder.errors import UserError

BACKBONES: dict[str, type[nn.Module]] = {"unet": UNet, "dit": DiT}


def build(model: dict[str, Any]) -> nn.Module:
    """The network of ``config["model"]``: its ``backbone`` (absent: a UNet) and that one's arguments.

    Raises:
        UserError: there is no such backbone, or it cannot be built for such pictures.
    """
    arguments = dict(model)
    name = arguments.pop("backbone", "unet")
    if name not in BACKBONES:
        raise UserError(f"There is no backbone {name!r}; there are: {', '.join(BACKBONES)}.")
    return BACKBONES[name](**arguments)
