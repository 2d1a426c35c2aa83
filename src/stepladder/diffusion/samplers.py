"""Samplers: plain functions from noise to pictures.

Each takes ``denoise(x, i)``, which says what x at the i-th level is a noisy picture of, ``x`` ``(N, C, H, W)`` at the first
level, and the ``Levels`` to visit; ``noise()`` gives fresh standard normal tensors like ``x``; ``callback(i, x, x_0)`` is called
after each step. They know no process, network or guidance: with ``x = alpha x_0 + sigma eps``, lambda = ln(alpha / sigma), all
serve every process, and the first level may hold no signal at all. Coefficients are floats computed once, so that a step is
a handful of tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from stepladder.diffusion.levels import Levels


@dataclass(frozen=True)
class Denoised:
    """What a network makes of a noisy picture.

    Attributes:
        x_0: like ``x``.
        variance: like ``x``, in [0, 1], where the network learned it: where the reverse step's log-variance lies between
            its two bounds.
    """

    x_0: Tensor
    variance: Tensor | None = None


Denoise = Callable[[Tensor, int], Denoised]
Noise = Callable[[], Tensor]
Callback = Callable[[int, Tensor, Tensor], None]

LARGEST_CHURN = 2**0.5 - 1


def evaluations(sampler: str, steps: int) -> int:
    """Network evaluations that ``sampler`` needs for S = ``steps`` (without guidance, which doubles them).

    Heun's first step saves one more where the first level holds no signal.
    """
    return 2 * steps - 1 if sampler == "heun" else steps


def ancestral(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    variance: str = "fixed_small",
    callback: Callback | None = None,
) -> Tensor:
    """DDPM: Ho et al. (2020), algorithm 2, on the chain that visits ``levels``.

    Between levels t and s it draws from q(x_s | x_t, x_0) with variance ``fixed_small``, that of the posterior;
    ``fixed_large``, beta; or ``learned``, between the two: Nichol and Dhariwal (2021), equation 15.
    """
    for i, (alpha, sigma, after, sigma_after) in enumerate(_pairs(levels)):
        scale = alpha / after
        fresh = sigma**2 - (scale * sigma_after) ** 2  # variance that this step of the forward process adds
        found = denoise(x, i)
        x = _combined(scale * sigma_after**2 / sigma**2, x, after * fresh / sigma**2, found.x_0)
        if sigma_after:
            small, large = fresh * sigma_after**2 / sigma**2, fresh
            if variance == "learned":
                assert found.variance is not None, "the model learned no variance"
                low, high = math.log(small) / 2, math.log(large) / 2
                x.addcmul_((low + (high - low) * found.variance).exp_(), noise())
            else:
                x.add_(noise(), alpha=math.sqrt(small if variance == "fixed_small" else large))
        if callback is not None:
            callback(i, x, found.x_0)
    return x


def ddim(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    eta: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM: Song et al. (2021), equation 12; ``eta`` 0 is deterministic, 1 is DDPM with the small variance.

    The noise that goes with x_0 follows from x_0 as denoised, also where it was clipped, as in the code of Dhariwal and
    Nichol (2021).
    """
    for i, (alpha, sigma, after, sigma_after) in enumerate(_pairs(levels)):
        fresh = sigma**2 - (alpha / after * sigma_after) ** 2
        random = eta * math.sqrt(fresh) * sigma_after / sigma
        of_x = math.sqrt(max(sigma_after**2 - random**2, 0.0)) / sigma
        x_0 = denoise(x, i).x_0
        x = _combined(of_x, x, after - of_x * alpha, x_0)
        if random:
            x.add_(noise(), alpha=random)
        if callback is not None:
            callback(i, x, x_0)
    return x


def euler(denoise: Denoise, x: Tensor, levels: Levels, *, callback: Callback | None = None) -> Tensor:
    """Euler's method on the probability-flow ODE, first order.

    For a rectified flow ``x + (u_next - u) velocity``: Liu et al. (2023), algorithm 1; on edm's levels Karras et al. (2022),
    algorithm 1, without the correction. In (alpha, sigma) the ODE's tangent is ``x_0 d alpha + eps d sigma``, whose step is
    that of DDIM without noise, whatever the process.
    """
    return ddim(denoise, x, levels, _no_noise, callback=callback)


def heun(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    churned: Levels | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Heun's method of Karras et al. (2022), algorithm 2, second order, in sigma / alpha; the last step is Euler's.

    Where the first level holds no signal its step is Euler's too. With ``churned``, S levels that are each at least as noisy
    as the one visited, noise is added up to there first; ``denoise(x, S + i)`` is then asked at the i-th of them.
    """
    steps = len(levels)
    start = levels if churned is None else churned
    for i, (_, _, after, sigma_after) in enumerate(_pairs(levels)):
        alpha, sigma = float(start.alphas[i]), float(start.sigmas[i])
        if churned is not None:
            scale = alpha / float(levels.alphas[i]) if levels.alphas[i] else 1.0
            added = max(sigma**2 - (scale * float(levels.sigmas[i])) ** 2, 0.0)
            if added > 1e-12 * sigma**2:
                x = (scale * x).add_(noise(), alpha=math.sqrt(added))
        x_0 = denoise(x, i if churned is None else steps + i).x_0
        of_x = sigma_after / sigma
        moved = _combined(of_x, x, after - of_x * alpha, x_0)
        if sigma_after and alpha:
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


def dpmpp_2m(denoise: Denoise, x: Tensor, levels: Levels, *, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M): Lu et al. (2022b), algorithm 2: second order, multistep, one evaluation a step.

    The first step and the last are of first order, the last because it ends where lambda is infinite.
    """
    before, h_before = None, 0.0
    for i, (alpha, sigma, after, sigma_after) in enumerate(_pairs(levels)):
        h = _log_ratio(after, sigma_after) - _log_ratio(alpha, sigma)
        x_0 = denoise(x, i).x_0
        of_x = sigma_after / sigma
        of_x_0 = after - of_x * alpha  # alpha_s (1 - e^-h)
        if before is None or not sigma_after or not 0 < h_before < math.inf:
            moved = _combined(of_x, x, of_x_0, x_0)
        else:
            share = h / (2 * h_before)  # 1 / (2 r)
            moved = _combined(of_x, x, of_x_0 * (1 + share), x_0).add_(before, alpha=-of_x_0 * share)
        before, h_before, x = x_0, h, moved
        if callback is not None:
            callback(i, x, x_0)
    return x


def unipc(denoise: Denoise, x: Tensor, levels: Levels, *, callback: Callback | None = None) -> Tensor:
    """UniPC of order 2 (UniP-2 corrected by UniC-2, B_2(h) = e^h - 1): Zhao et al. (2023), algorithms 5 to 8.

    In its data-prediction form; the correction reuses the evaluation of the next step, so one a step. The first step is of
    order 1 and the last ends at the data.
    """
    before: Tensor | None = None
    here, h_before = denoise(x, 0).x_0, math.inf
    pairs = _pairs(levels)
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs):
        of_x = sigma_after / sigma
        of_x_0 = after - of_x * alpha
        base = _combined(of_x, x, of_x_0, here)
        predicted = base
        h = _log_ratio(after, sigma_after) - _log_ratio(alpha, sigma)
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
            before, here, h_before = here, there, h
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


def _pairs(levels: Levels) -> list[tuple[float, float, float, float]]:
    """(alpha, sigma) of each level and of the one after it, the data after the last."""
    alphas, sigmas = [*levels.alphas.tolist(), 1.0], [*levels.sigmas.tolist(), 0.0]
    return list(zip(alphas, sigmas, alphas[1:], sigmas[1:], strict=False))


def _combined(of_x: float, x: Tensor, of_x_0: float, x_0: Tensor) -> Tensor:
    return (of_x_0 * x_0).add_(x, alpha=of_x)


def _log_ratio(alpha: float, sigma: float) -> float:
    if not sigma:
        return math.inf
    return math.log(alpha / sigma) if alpha else -math.inf


def _no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")
