"""A trained diffusion model, from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stepladder.diffusion.networks.backbones import build
from stepladder.errors import UserError


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network, in evaluation mode, and the configuration of the model in ``folder``.

    Raises:
        UserError: the folder holds no diffusion model.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = build(config["model"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} holds no diffusion model that can be loaded ({' '.join(str(error).split())[:120]}); "
            "name a folder with model.safetensors and config.json."
        ) from None
    return model.eval(), config
