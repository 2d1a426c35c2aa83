"""The denoising network that a model's description has."""

from __future__ import annotations

from torch import nn

from stepladder.diffusion.networks.description import Network
from stepladder.diffusion.networks.dit import DiT
from stepladder.diffusion.networks.unet import UNet
from stepladder.errors import UserError

BACKBONES: dict[str, type[nn.Module]] = {"unet": UNet, "dit": DiT}


def build(network: Network) -> nn.Module:
    """The network of a description's ``model``: its backbone, with that one's arguments.

    Raises:
        UserError: there is no such backbone, or it cannot be built for such pictures.
    """
    if network.backbone not in BACKBONES:
        raise UserError(f"There is no backbone {network.backbone!r}; there are: {', '.join(BACKBONES)}.")
    return BACKBONES[network.backbone](**network.arguments())
