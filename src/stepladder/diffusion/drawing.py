"""Pictures from a trained diffusion model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stepladder.data.grid import grid, to_uint8
from stepladder.diffusion.backbones import build
from stepladder.diffusion.conditions import Condition, rows
from stepladder.diffusion.guidance import guided
from stepladder.diffusion.parameterisation import to_x0
from stepladder.diffusion.samplers import ancestral, ddim
from stepladder.diffusion.schedules import schedule
from stepladder.diffusion.spacing import spaced
from stepladder.errors import UserError
from stepladder.params import Sampling
from stepladder.training.randomness import generator

__all__ = ["class_numbers", "draw", "grid", "load", "to_uint8"]

BATCH = 512


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


@torch.inference_mode()
def draw(
    model: nn.Module,
    config: dict[str, Any],
    condition: Condition,
    steps: int,
    sampling: Sampling,
    *,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Tensor:
    """One picture for each of the N rows of ``condition``, in S = ``steps`` steps: ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Picture i depends on (seed, i) and its row only, not on ``batch_size``: its noise has a generator of its own.

    Raises:
        UserError: S is not in 1, ..., T, or the model cannot be guided as ``sampling`` asks.
    """
    classes, scale = len(config["classes"]), sampling.guidance_scale
    if scale != 1 and not (classes and config["label_dropout"] > 0):
        raise UserError(
            f"guidance_scale={scale:g} needs a model trained with classes, some of them hidden; this one was not: use 1."
        )
    visited = spaced(config["timesteps"], steps, sampling.spacing)
    count = len(condition["labels"])
    if not count:
        return torch.empty(0, *config["model"]["shape"])
    return torch.cat(
        [
            _draw_batch(model, config, rows(condition, start, start + batch_size), visited, sampling, seed, start)
            for start in range(0, count, batch_size)
        ]
    )


def _draw_batch(
    model: nn.Module,
    config: dict[str, Any],
    condition: Condition,
    visited: Any,
    sampling: Sampling,
    seed: int,
    first: int,
) -> Tensor:
    device = next(model.parameters()).device
    generators = [generator(seed, first + i) for i in range(len(condition["labels"]))]
    shape = tuple(config["model"]["shape"])
    noise_schedule = schedule(config["schedule"], config["timesteps"])
    signals = noise_schedule.alphas_cumprod
    condition = {key: value.to(device) for key, value in condition.items()}

    def noise() -> Tensor:
        return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(device)

    def denoise(x: Tensor, t: int) -> Tensor:
        time = torch.full((len(x),), (t + 1) / config["timesteps"], device=device)
        output = guided(model, x, time, condition, len(config["classes"]), sampling.guidance_scale)
        signal = float(signals[t])
        return to_x0("discrete", config["prediction"], output, x, signal**0.5, (1 - signal) ** 0.5)

    if sampling.sampler == "ancestral":
        x = ancestral(
            denoise, noise(), noise_schedule, visited, noise, variance=sampling.variance, clip=sampling.clip
        )  # fmt: skip
    else:
        x = ddim(denoise, noise(), noise_schedule, visited, noise, eta=sampling.eta, clip=sampling.clip)
    return x.clamp(-1, 1).cpu()


def class_numbers(config: dict[str, Any], names: Sequence[str] | None, count: int) -> Tensor:
    """Labels for ``count`` pictures of each class in ``names``; without names ``count`` in all, classes in turn.

    Raises:
        UserError: the model does not know a name.
    """
    classes = [str(name) for name in config["classes"]]
    if not names:
        return torch.arange(count) % max(len(classes), 1)
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UserError(
            f"The model does not know the class {', '.join(unknown)}; it knows: {', '.join(classes) or 'none'}."
        )
    return torch.tensor([classes.index(name) for name in names for _ in range(count)])
