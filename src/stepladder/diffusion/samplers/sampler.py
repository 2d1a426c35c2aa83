"""What a sampler is: a plain function from noise to pictures, and a record that describes it.

Each takes ``denoise(x, i)``, which predicts x_0 from x at the i-th level, ``x`` ``(N, C, H, W)`` at the first
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
    """The prediction of a network for noisy pictures.

    Attributes:
        x_0: like ``x``.
        variance: like ``x``, in [0, 1], where the network learned it: the position of the reverse step's log-variance
            between its two bounds.
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
        own: parameters of ``sampling`` that only this sampler uses.
        options: ``options(sampling, process, levels)``: further arguments of ``sample``. Levels under ``churned`` have
            numbers in ``denoise`` that follow those of the visited levels.
        evaluations: ``evaluations(levels, process)``: evaluations of the network, without guidance, which doubles them.
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


def combined(x_coef: float, x: Tensor, x_0_coef: float, x_0: Tensor) -> Tensor:
    """``x_coef * x + x_0_coef * x_0``, of two tensors of the same shape, in one new tensor."""
    return (x_0_coef * x_0).add_(x, alpha=x_coef)


def log_ratio(alpha: float, sigma: float) -> float:
    """lambda = ln(alpha / sigma), half the log-SNR: infinite at the data, minus infinite at pure noise."""
    if not sigma:
        return math.inf
    return math.log(alpha / sigma) if alpha else -math.inf
