"""Multistep samplers: what was found at earlier levels is used again, one evaluation a step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.levels import MOST_NOISE, Levels
from stepladder.diffusion.samplers.sampler import Callback, Denoise, Noise, Sampler, combined, log_ratio, pairs

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.diffusion.processes.process import Process
    from stepladder.params import Sampling


def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise | None = None,
    *,
    noisiest: float = math.inf,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M): Lu et al. (2022b), algorithm 2: second order, multistep, one evaluation a step.

    The first step and the last are of first order, the last because it ends where lambda is infinite. What is found at levels
    of a sigma / alpha above ``noisiest`` is not extrapolated from.
    """
    before, h_before = None, 0.0
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        h = log_ratio(after, sigma_after) - log_ratio(alpha, sigma)
        x_0 = denoise(x, i).x_0
        of_x = sigma_after / sigma
        of_x_0 = after - of_x * alpha  # alpha_s (1 - e^-h)
        if before is None or not sigma_after or not 0 < h_before < math.inf:
            moved = combined(of_x, x, of_x_0, x_0)
        else:
            share = h / (2 * h_before)  # 1 / (2 r)
            moved = combined(of_x, x, of_x_0 * (1 + share), x_0).add_(before, alpha=-of_x_0 * share)
        before, h_before, x = (x_0 if sigma <= noisiest * alpha else None), h, moved
        if callback is not None:
            callback(i, x, x_0)
    return x


def unipc(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise | None = None,
    *,
    noisiest: float = math.inf,
    callback: Callback | None = None,
) -> Tensor:
    """UniPC of order 2 (UniP-2 corrected by UniC-2, B_2(h) = e^h - 1): Zhao et al. (2023), algorithms 5 to 8.

    In its data-prediction form; the correction reuses the evaluation of the next step, so one a step. The first step is of
    order 1 and the last ends at the data. ``noisiest`` as of ``dpmpp_2m``.
    """
    before: Tensor | None = None
    here, h_before = denoise(x, 0).x_0, math.inf
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        of_x = sigma_after / sigma
        of_x_0 = after - of_x * alpha
        base = combined(of_x, x, of_x_0, here)
        predicted = base
        h = log_ratio(after, sigma_after) - log_ratio(alpha, sigma)
        second = before is not None and 0 < h < math.inf and 0 < h_before < math.inf
        if second:
            predicted = base + (here - before).mul_(of_x_0 * h / (2 * h_before))  # type: ignore[operator]
        found = here
        if sigma_after:
            there = denoise(predicted, i + 1).x_0
            of_before, of_there = _corrector(h, h_before) if second else (0.0, 0.5)
            x = base.add(there - here, alpha=of_x_0 * of_there)
            if second:
                x.add_(before - here, alpha=of_x_0 * of_before)  # type: ignore[operator]
            before, here, h_before = (here if sigma <= noisiest * alpha else None), there, h
        else:
            x = predicted
        if callback is not None:
            callback(i, x, found)
    return x


def _corrector(h: float, h_before: float) -> tuple[float, float]:
    """Weights of (x_0 before - x_0 here) and (x_0 there - x_0 here) in UniC-2, in units of alpha_s (1 - e^-h).

    They solve R rho = b of Zhao et al. (2023), theorem 3.1, for r = (-h_before / h, 1) and D_m = (x_0^m - x_0) / r_m.
    """
    r = -h_before / h
    hh = -h
    b_h = math.expm1(hh)
    first = b_h / hh - 1
    second = first / hh - 0.5
    b_1, b_2 = first / b_h, 2 * second / b_h
    of_before = (b_1 - b_2) / (1 - r)
    return of_before / r, b_1 - of_before


def _options(sampling: Sampling, process: Process, levels: Levels) -> dict[str, float]:
    limited = sampling.clip or sampling.dynamic_threshold
    return {"noisiest": math.inf if limited else MOST_NOISE}


SAMPLERS = (
    Sampler("dpmpp_2m", "DPM-Solver++ 2M", dpmpp_2m, 2, options=_options),
    Sampler("unipc", "UniPC", unipc, 3, options=_options),
)
