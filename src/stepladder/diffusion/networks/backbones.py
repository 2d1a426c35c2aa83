"""The denoising network that a model's description has."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor, nn

from stepladder import plugins
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import Network
from stepladder.errors import UserError
from stepladder.params.backbones import BACKBONE, BACKBONES


def build(network: Network) -> nn.Module:
    """The network of a description's ``model``: its backbone, built with the arguments in the description.

    Raises:
        UserError: there is no such backbone, or it cannot be built for such pictures.
    """
    if plugins.is_custom(network.backbone):
        return _custom(network)
    name = BACKBONES[network.backbone].__name__
    built: nn.Module = getattr(import_module(f"{__package__}.{network.backbone}"), name)(**network.arguments())
    return built


def example(network: nn.Module, described: Network, batch: int) -> tuple[Tensor, Tensor, Condition]:
    """Example inputs ``(x, time, condition)`` of ``network``, which ``described`` describes, for ``batch`` pictures."""
    device = next(network.parameters()).device
    condition: Condition = {"labels": torch.zeros(batch, dtype=torch.long, device=device)}
    if described.vocabulary:
        condition["text"] = torch.ones(batch, described.text_length, dtype=torch.long, device=device)
    if side := described.low_resolution:
        condition["low_resolution"] = torch.zeros(batch, described.shape[0], side, side, device=device)
        condition["low_resolution_noise"] = torch.zeros(batch, device=device)
    return torch.randn(batch, *described.shape, device=device), torch.rand(batch, device=device), condition


def _custom(network: Network) -> nn.Module:
    """A custom network, tried on two pictures; arguments for texts and a low resolution only where these are used."""
    kind: type[nn.Module] = BACKBONE.find(network.backbone)
    argument_names = {"shape", "classes", "outputs"}
    argument_names |= {"vocabulary", "text_length", "text_encoder"} if network.vocabulary else set()
    argument_names |= {"low_resolution"} if network.low_resolution else set()
    try:
        plugins.check_signature(kind, **dict.fromkeys(argument_names))
        made = kind(**network.model_dump(include=argument_names)).eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = made(*example(made, network, 2))
    except Exception as error:
        raise UserError(
            f"{BACKBONE.key}={network.backbone} cannot be built, or run, for pictures of {'x'.join(map(str, network.shape))} with "
            f"{', '.join(sorted(argument_names))} ({type(error).__name__}: {error}); it must be {BACKBONE.wanted}."
        ) from None
    wanted = (2, network.outputs or network.shape[0], *network.shape[1:])
    if not isinstance(output, Tensor) or output.shape != wanted:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"{BACKBONE.key}={network.backbone} gives {shape} for two pictures, not {wanted}; it must be {BACKBONE.wanted}."
        )
    return made.train()
