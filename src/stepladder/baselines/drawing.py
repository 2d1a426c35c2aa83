"""Pictures from a trained autoencoder or generator: one pass of the network each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stepladder.baselines.adversarial import Generator
from stepladder.baselines.autoencoder import VAE
from stepladder.data.grid import grid
from stepladder.errors import UserError
from stepladder.tasks.randomness import generator

BATCH = 512
NETWORKS: dict[str, type[nn.Module]] = {"vae": VAE, "gan": Generator}


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network, in evaluation mode, and the configuration of the model in ``folder``.

    Raises:
        UserError: the folder holds neither an autoencoder nor a generator.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = NETWORKS[config["family"]](**config["model"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} holds no model of the families {', '.join(NETWORKS)} that can be loaded "
            f"({' '.join(str(error).split())[:120]}); name a folder with model.safetensors and config.json."
        ) from None
    return model.eval(), config


@torch.inference_mode()
def draw(
    model: nn.Module,
    config: dict[str, Any],
    condition: dict[str, Tensor],
    *,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Tensor:
    """One picture for each of the N rows of ``condition["labels"]``: ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Picture i depends on (seed, i) and its label only, not on ``batch_size``: its code has a generator of its own. Of an
    autoencoder it is the decoder's mean, not a draw from its variance, which is noise of every pixel for itself.
    """
    device, latent = next(model.parameters()).device, config["model"]["latent"]
    labels = condition["labels"]
    codes = [torch.randn(latent, generator=generator(seed, i)) for i in range(len(labels))]
    if not codes:
        return torch.empty(0, *config["model"]["shape"])
    parts = zip(torch.stack(codes).split(batch_size), labels.split(batch_size), strict=True)
    return torch.cat([model(z.to(device), y.to(device)).float().clamp(-1, 1).cpu() for z, y in parts])


def preview(model: nn.Module, config: dict[str, Any], seed: int) -> Image.Image:
    """Forty pictures, ten a row, one class a column."""
    labels = torch.arange(40) % 10 % max(len(config["classes"]), 1)
    return grid(draw(model, config, {"labels": labels}, seed=seed), columns=10)
