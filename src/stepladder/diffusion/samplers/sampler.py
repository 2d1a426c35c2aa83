"""What a sampler is: a plain function from noise to pictures, and what is said of it.

Each takes ``denoise(x, i)``, which says what x at the i-th level is a noisy picture of, ``x`` ``(N, C, H, W)`` at the first
level, and the ``Levels`` to visit; ``noise()`` gives fresh standard normal tensors like ``x``; ``callback(i, x, x_0)`` is called
after each step. They know no process, network or guidance: with ``x = alpha x_0 + sigma eps``, lambda = ln(alpha / sigma), all
serve every process, and the first level may hold no signal at all. Coefficients are floats computed once, so that a step is
a handful of tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.levels import Levels

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.diffusion.processes.process import Process
    from stepladder.params import Sampling


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


Denoise = Callable[["Tensor", int], Denoised]
Noise = Callable[[], "Tensor"]
Callback = Callable[[int, "Tensor", "Tensor"], None]


def _one_a_step(levels: Levels, process: Process) -> int:
    return len(levels)


def _no_options(sampling: Sampling, process: Process, levels: Levels) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True)
class Sampler:
    """One way from noise to pictures.

    Attributes:
        name: in parameters.
        title: for people.
        sample: ``sample(denoise, x, levels, noise, *, callback, **options)``.
        order: of its error, as a method for the probability-flow ODE; None where it draws noise by nature.
        own: parameters of ``sampling`` that only it uses.
        options: ``options(sampling, process, levels)``: what ``sample`` is called with besides. Levels among them under ``churned``
            are known to ``denoise`` after those visited.
        evaluations: ``evaluations(levels, process)``: how often it asks the network, without guidance, which doubles it.
    """

    name: str
    title: str
    sample: Callable[..., Tensor]
    order: int | None
    own: tuple[str, ...] = ()
    options: Callable[[Sampling, Process, Levels], Mapping[str, object]] = _no_options
    evaluations: Callable[[Levels, Process], int] = _one_a_step


def pairs(levels: Levels) -> list[tuple[float, float, float, float]]:
    """(alpha, sigma) of each level and of the one after it, the data after the last."""
    alphas, sigmas = [*levels.alphas.tolist(), 1.0], [*levels.sigmas.tolist(), 0.0]
    return list(zip(alphas, sigmas, alphas[1:], sigmas[1:], strict=False))


def combined(of_x: float, x: Tensor, of_x_0: float, x_0: Tensor) -> Tensor:
    """``of_x * x + of_x_0 * x_0``, of two tensors of the same shape, in one new tensor."""
    return (of_x_0 * x_0).add_(x, alpha=of_x)


def log_ratio(alpha: float, sigma: float) -> float:
    """lambda = ln(alpha / sigma), half the log-SNR: infinite at the data, minus infinite at pure noise."""
    if not sigma:
        return math.inf
    return math.log(alpha / sigma) if alpha else -math.inf
