"""RePaint: inpainting a part of a picture so that it fits the rest (Lugmayr et al. 2022, algorithm 1)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.samplers.sampler import Denoise, Noise


def repaint(
    denoise: Denoise,
    x: Tensor,
    known: Tensor,
    mask: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    jump: int = 10,
    resamples: int = 10,
) -> Tensor:
    """``known`` where ``mask`` is true, generated elsewhere: ``(N, C, H, W)``.

    Every ancestral step is of the full picture; then the known part, noised to the same level, replaces its pixels.
    Noising back by ``jump`` levels and denoising them again, ``resamples`` times in all, makes both parts fit. Any
    process will do: a step is the posterior between two levels (alpha, sigma).

    Args:
        denoise: predicts x_0 from x at level i.
        x: noise at the first level, ``(N, C, H, W)``.
        known: ``(N, C, H, W)`` in [-1, 1].
        mask: ``(N, 1, H, W)`` or of ``known``'s shape, boolean.
        noise: gives fresh standard normal tensors like ``known``.
    """
    visited = [*zip(levels.alphas.tolist(), levels.sigmas.tolist(), strict=True), (1.0, 0.0)]
    for i, following in pairwise(visits(len(levels), jump, resamples)):
        if following < i:
            ratio, variance = _noising(visited[i], visited[following])
            x = ratio * x + variance**0.5 * noise()
            continue
        x_0_coef, x_coef, variance = _denoising(visited[i], visited[following])
        x = x_0_coef * denoise(x, i).x_0 + x_coef * x
        alpha, sigma = visited[following]
        known_noised = alpha * known
        if sigma:
            x = x + variance**0.5 * noise()
            known_noised = known_noised + sigma * noise()
        x = known_noised.where(mask, x)
    return x


def visits(steps: int, jump: int, resamples: int) -> list[int]:
    """The numbers of the levels in the order of the path, from 0 (noise) to ``steps`` (data); neighbours differ by 1.

    Where 1, 1 + ``jump``, 1 + 2 ``jump``, ... steps to the data are left, the path goes back ``jump`` levels,
    ``resamples`` - 1 times, as long as there are that many levels.
    """
    back = dict.fromkeys(range(1, steps - jump + 1, jump), resamples - 1)
    i, path = 0, [0]
    while i < steps:
        i += 1
        path.append(i)
        if back.get(steps - i, 0):
            back[steps - i] -= 1
            path += range(i - 1, i - jump - 1, -1)
            i -= jump
    return path


def _noising(cleaner: tuple[float, float], noisier: tuple[float, float]) -> tuple[float, float]:
    """``q(x_t | x_s)`` is normal: the coefficient of ``x_s`` in its mean, and its variance."""
    ratio = noisier[0] / cleaner[0]
    return ratio, max(noisier[1] ** 2 - (ratio * cleaner[1]) ** 2, 0.0)


def _denoising(noisier: tuple[float, float], cleaner: tuple[float, float]) -> tuple[float, float, float]:
    """``q(x_s | x_t, x_0)`` is normal: the coefficients of ``x_0`` and ``x_t`` in its mean, and its variance."""
    ratio, added = _noising(cleaner, noisier)
    share = added / noisier[1] ** 2
    return cleaner[0] * share, ratio * cleaner[1] ** 2 / noisier[1] ** 2, share * cleaner[1] ** 2
