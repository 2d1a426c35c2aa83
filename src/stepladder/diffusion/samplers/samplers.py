"""The samplers there are: to add one, write its function in a file of this folder, and its record into that file's ``SAMPLERS``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stepladder import plugins
from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.samplers import heun, multistep, one_step
from stepladder.diffusion.samplers.sampler import Denoised, Sampler


def _own(name: str, found: Any) -> Sampler:
    """A person's own sampler, a function or a record, tried on three levels."""
    import torch

    record = replace(found, name=name) if isinstance(found, Sampler) else Sampler(name, name, found, None)
    plugins.takes(record.sample, "denoise", "x", "levels", "noise", callback=None)
    x, seen = torch.linspace(-1, 1, 32).view(2, 1, 4, 4), []
    levels = Levels(np.array([0.1, 0.5, 0.9]), np.sqrt(1 - np.array([0.1, 0.5, 0.9]) ** 2), np.array([1.0, 0.6, 0.2]))
    drawn = record.sample(
        lambda x, i: Denoised(x / 2), x.clone(), levels, lambda: x, callback=lambda i, x, x_0: seen.append(i)
    )
    if not isinstance(drawn, torch.Tensor) or drawn.shape != x.shape or not drawn.isfinite().all():
        given = f"{tuple(drawn.shape)}" if isinstance(drawn, torch.Tensor) else type(drawn).__name__
        raise plugins.Unfit(f"it gives {given} for x of {tuple(x.shape)}, or no numbers")
    if seen != [0, 1, 2]:
        raise plugins.Unfit(f"at three levels it calls callback(i, x, x_0) for i in {seen}, not for each in turn")
    return record


SAMPLER = plugins.Kind(
    "sampling.sampler",
    "a function sample(denoise, x, levels, noise, *, callback) that gives a tensor like x, (N, C, H, W), and calls callback(i, x, x_0) "
    "after each step, or a Sampler of stepladder.diffusion.samplers.sampler with such a function",
    _own,
)
SAMPLERS: dict[str, Sampler] = plugins.Table(
    SAMPLER, {sampler.name: sampler for file in (one_step, multistep, heun) for sampler in file.SAMPLERS}
)
