"""Multistep samplers: they reuse predictions at earlier levels, and evaluate the network once a step."""

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

    The first step and the last are of first order, the last because it ends where lambda is infinite. Predictions at
    levels of a sigma / alpha above ``noisiest`` are not extrapolated from.
    """
    x_0_before, h_before = None, 0.0
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        h = log_ratio(after, sigma_after) - log_ratio(alpha, sigma)
        x_0 = denoise(x, i).x_0
        x_coef = sigma_after / sigma
        x_0_coef = after - x_coef * alpha  # alpha_s (1 - e^-h)
        if x_0_before is None or not sigma_after or not 0 < h_before < math.inf:
            moved = combined(x_coef, x, x_0_coef, x_0)
        else:
            share = h / (2 * h_before)  # 1 / (2 r)
            moved = combined(x_coef, x, x_0_coef * (1 + share), x_0).add_(x_0_before, alpha=-x_0_coef * share)
        x_0_before, h_before, x = (x_0 if sigma <= noisiest * alpha else None), h, moved
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
    x_0_before: Tensor | None = None
    x_0, h_before = denoise(x, 0).x_0, math.inf
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        x_coef = sigma_after / sigma
        x_0_coef = after - x_coef * alpha
        base = combined(x_coef, x, x_0_coef, x_0)
        predicted = base
        h = log_ratio(after, sigma_after) - log_ratio(alpha, sigma)
        is_second_order = x_0_before is not None and 0 < h < math.inf and 0 < h_before < math.inf
        if is_second_order:
            predicted = base + (x_0 - x_0_before).mul_(x_0_coef * h / (2 * h_before))  # type: ignore[operator]
        x_0_visited = x_0
        if sigma_after:
            x_0_after = denoise(predicted, i + 1).x_0
            before_coef, after_coef = _corrector(h, h_before) if is_second_order else (0.0, 0.5)
            x = base.add(x_0_after - x_0, alpha=x_0_coef * after_coef)
            if is_second_order:
                x.add_(x_0_before - x_0, alpha=x_0_coef * before_coef)  # type: ignore[operator]
            x_0_before, x_0, h_before = (x_0 if sigma <= noisiest * alpha else None), x_0_after, h
        else:
            x = predicted
        if callback is not None:
            callback(i, x, x_0_visited)
    return x


def _corrector(h: float, h_before: float) -> tuple[float, float]:
    """Coefficients of (x_0_before - x_0) and (x_0_after - x_0) in UniC-2, in units of alpha_s (1 - e^-h).

    They solve R rho = b of Zhao et al. (2023), theorem 3.1, for r = (-h_before / h, 1) and D_m = (x_0^m - x_0) / r_m.
    """
    r = -h_before / h
    hh = -h
    b_h = math.expm1(hh)
    first = b_h / hh - 1
    second = first / hh - 0.5
    b_1, b_2 = first / b_h, 2 * second / b_h
    before_coef = (b_1 - b_2) / (1 - r)
    return before_coef / r, b_1 - before_coef


def _options(sampling: Sampling, process: Process, levels: Levels) -> dict[str, float]:
    limited = sampling.clip or sampling.dynamic_threshold
    return {"noisiest": math.inf if limited else MOST_NOISE}


SAMPLERS = (
    Sampler("dpmpp_2m", "DPM-Solver++ 2M", dpmpp_2m, 2, options=_options),
    Sampler("unipc", "UniPC", unipc, 3, options=_options),
)
