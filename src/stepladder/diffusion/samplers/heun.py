"""Heun's method, with or without churn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.levels import MOST_NOISE, Levels
from stepladder.diffusion.samplers.sampler import Callback, Denoise, Noise, Sampler, combined, pairs

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.diffusion.processes.process import Process
    from stepladder.params import Sampling

LARGEST_CHURN = 2**0.5 - 1
ROUNDING = 1e-9


def heun(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    churned: Levels | None = None,
    longest: float = math.inf,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's method of Karras et al. (2022), algorithm 2, second order, in sigma / alpha; the last step is Euler's.

    Steps from sigma / alpha > 80, where EDM starts, or from no signal are Euler's too: the correction would multiply
    the network's error at the next level by half of sigma / alpha (20,291 at T = 1000, cosine). So are steps that
    divide sigma / alpha by more than ``longest``, whose correction multiplies the error by half of that.

    With ``churned``, S levels, each step first adds noise up to them, where they are noisier than those visited;
    ``denoise(x, S + i)`` then denoises at the i-th of them.
    """
    steps = len(levels)
    start = levels if churned is None else churned
    for i, (_, _, after, sigma_after) in enumerate(pairs(levels)):
        alpha, sigma = float(start.alphas[i]), float(start.sigmas[i])
        if churned is not None:
            scale = alpha / float(levels.alphas[i]) if levels.alphas[i] else 1.0
            added = max(sigma**2 - (scale * float(levels.sigmas[i])) ** 2, 0.0)
            if added > 1e-12 * sigma**2:
                x = (scale * x).add_(noise(), alpha=math.sqrt(added))
        x_0 = denoise(x, i if churned is None else steps + i).x_0
        x_coef = sigma_after / sigma
        moved = combined(x_coef, x, after - x_coef * alpha, x_0)
        if _is_corrected(alpha, sigma, after, sigma_after, longest):
            x_0_after = denoise(moved, i + 1).x_0
            # eps_after - eps, times half of the way in sigma / alpha
            half = (sigma_after - after * sigma / alpha) / 2
            moved = moved.mul(1 + half / sigma_after)
            moved.add_(x_0_after, alpha=-half * after / sigma_after)
            moved.add_(x, alpha=-half / sigma).add_(x_0, alpha=half * alpha / sigma)
        x = moved
        if callback is not None:
            callback(i, x, x_0)
    return x


def _is_corrected(alpha: float, sigma: float, after: float, sigma_after: float, longest: float) -> bool:
    if not sigma_after or sigma > MOST_NOISE * alpha * (1 + ROUNDING):
        return False
    return sigma * after <= longest * sigma_after * alpha


def _options(sampling: Sampling, process: Process, levels: Levels) -> dict[str, Levels | float | None]:
    gamma = min(sampling.churn / len(levels), LARGEST_CHURN)
    return {"churned": process.raised(levels, gamma) if gamma else None, "longest": process.longest_corrected}


def _evaluations(levels: Levels, process: Process) -> int:
    """One a step, and one more for each step that is corrected."""
    return len(levels) + sum(_is_corrected(*pair, process.longest_corrected) for pair in pairs(levels))


SAMPLERS = (Sampler("heun", "Heun", heun, 2, ("churn",), _options, _evaluations),)
