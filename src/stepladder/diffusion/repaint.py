"""RePaint: a part of a picture drawn anew, so that it goes with the rest (Lugmayr et al. 2022, algorithm 1)."""

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
    """``known`` where ``mask`` is true, drawn elsewhere: ``(N, C, H, W)``.

    Every ancestral step is of the whole picture, then the known part takes the place of its own, noised as much. Noising
    ``jump`` levels again and going over them anew, ``resamples`` times in all, brings the drawn part into harmony with the
    known one. Any process will do: a step is the posterior between two levels (alpha, sigma).

    Args:
        denoise: says what x at level i is a noisy picture of.
        x: noise at the first level, ``(N, C, H, W)``.
        known: ``(N, C, H, W)`` in [-1, 1].
        mask: ``(N, 1, H, W)`` or of ``known``'s shape, boolean.
        noise: gives fresh standard normal tensors like ``known``.
    """
    at = [*zip(levels.alphas.tolist(), levels.sigmas.tolist(), strict=True), (1.0, 0.0)]
    for i, following in pairwise(visits(len(levels), jump, resamples)):
        if following < i:
            ratio, variance = _forward(at[i], at[following])
            x = ratio * x + variance**0.5 * noise()
            continue
        of_x_0, of_x, variance = _backward(at[i], at[following])
        x = of_x_0 * denoise(x, i).x_0 + of_x * x
        alpha, sigma = at[following]
        there = alpha * known
        if sigma:
            x = x + variance**0.5 * noise()
            there = there + sigma * noise()
        x = there.where(mask, x)
    return x


def visits(steps: int, jump: int, resamples: int) -> list[int]:
    """The levels visited in turn, from 0 (noise) to ``steps`` (data), each one beside that before it.

    First whenever one step is left to the data, then for every ``jump`` steps more that are left, the path goes back ``jump``
    levels, ``resamples`` - 1 times, as long as there are that many levels.
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


def _forward(cleaner: tuple[float, float], noisier: tuple[float, float]) -> tuple[float, float]:
    """``q(x_t | x_s)`` is normal: the factor of ``x_s`` in its mean, and its variance."""
    ratio = noisier[0] / cleaner[0]
    return ratio, max(noisier[1] ** 2 - (ratio * cleaner[1]) ** 2, 0.0)


def _backward(noisier: tuple[float, float], cleaner: tuple[float, float]) -> tuple[float, float, float]:
    """``q(x_s | x_t, x_0)`` is normal: the factors of ``x_0`` and ``x_t`` in its mean, and its variance."""
    ratio, added = _forward(cleaner, noisier)
    share = added / noisier[1] ** 2
    return cleaner[0] * share, ratio * cleaner[1] ** 2 / noisier[1] ** 2, share * cleaner[1] ** 2
