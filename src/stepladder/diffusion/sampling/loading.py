"""A trained diffusion model, from its folder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from stepladder import loading
from stepladder.diffusion.networks.backbones import build
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.processes import process_of


def load(folder: Path) -> tuple[nn.Module, DiffusionDescription]:
    """The network, in evaluation mode, and the description of the model in ``folder``.

    Raises:
        UserError: the folder holds no diffusion model.
    """
    return loading.load(folder, _network, DiffusionDescription)


def _network(description: DiffusionDescription) -> nn.Module:
    process_of(description)  # raises where there is no such process
    return build(description.model)
