"""All samplers: to add one, write its function in a file of this folder and its record into the file's ``SAMPLERS``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stepladder import plugins
from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.samplers import heun, multistep, one_step
from stepladder.diffusion.samplers.sampler import Denoised, Sampler


def _custom(name: str, candidate: Any) -> Sampler:
    """A custom sampler, a function or a record, checked on three levels."""
    import torch

    record = replace(candidate, name=name) if isinstance(candidate, Sampler) else Sampler(name, name, candidate, None)
    plugins.check_signature(record.sample, "denoise", "x", "levels", "noise", callback=None)
    x, steps = torch.linspace(-1, 1, 32).view(2, 1, 4, 4), []
    levels = Levels(np.array([0.1, 0.5, 0.9]), np.sqrt(1 - np.array([0.1, 0.5, 0.9]) ** 2), np.array([1.0, 0.6, 0.2]))
    result = record.sample(
        lambda x, i: Denoised(x / 2), x.clone(), levels, lambda: x, callback=lambda i, x, x_0: steps.append(i)
    )
    if not isinstance(result, torch.Tensor) or result.shape != x.shape or not result.isfinite().all():
        actual = f"{tuple(result.shape)}" if isinstance(result, torch.Tensor) else type(result).__name__
        raise plugins.Unfit(f"it gives {actual} for x of {tuple(x.shape)}, or no numbers")
    if steps != [0, 1, 2]:
        raise plugins.Unfit(f"at three levels it calls callback(i, x, x_0) for i in {steps}, not for each in turn")
    return record


SAMPLER = plugins.Kind(
    "sampling.sampler",
    "a function sample(denoise, x, levels, noise, *, callback) that gives a tensor like x, (N, C, H, W), and calls callback(i, x, x_0) "
    "after each step, or a Sampler of stepladder.diffusion.samplers.sampler with such a function",
    _custom,
)
SAMPLERS: dict[str, Sampler] = plugins.Table(
    SAMPLER, {sampler.name: sampler for file in (one_step, multistep, heun) for sampler in file.SAMPLERS}
)
