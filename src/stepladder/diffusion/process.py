"""The forward process q and what it says of the reverse: pure functions of tensors.

``signal`` is alphas_cumprod at each example's step, of a shape that broadcasts with ``x``: ``x_t = sqrt(signal) x_0 +
sqrt(1 - signal) eps``. Ho et al. (2020) for q and its posterior; Salimans and Ho (2022) for v.
"""

from __future__ import annotations

from torch import Tensor

PREDICTIONS = ("eps", "x0", "v")


def q_sample(x_0: Tensor, eps: Tensor, signal: Tensor) -> Tensor:
    """``x_t`` given data ``x_0`` and standard normal ``eps``: Ho et al. (2020), equation 4."""
    return signal.sqrt() * x_0 + (1 - signal).sqrt() * eps


def target(prediction: str, x_0: Tensor, eps: Tensor, signal: Tensor) -> Tensor:
    """What a network of this ``prediction`` is to output; ``v = sqrt(signal) eps - sqrt(1 - signal) x_0``."""
    if prediction == "eps":
        return eps
    if prediction == "x0":
        return x_0
    return signal.sqrt() * eps - (1 - signal).sqrt() * x_0


def to_x0(prediction: str, output: Tensor, x_t: Tensor, signal: Tensor | float) -> Tensor:
    """The data that ``output`` implies at ``x_t``."""
    if prediction == "eps":
        return (x_t - (1 - signal) ** 0.5 * output) / signal**0.5
    if prediction == "x0":
        return output
    return signal**0.5 * x_t - (1 - signal) ** 0.5 * output


def to_eps(x_0: Tensor, x_t: Tensor, signal: Tensor | float) -> Tensor:
    """The noise between ``x_0`` and ``x_t``."""
    return (x_t - signal**0.5 * x_0) / (1 - signal) ** 0.5


def posterior(beta: float, signal: float, signal_before: float) -> tuple[float, float, float]:
    """``q(x_{t-1} | x_t, x_0)`` is normal: factors of ``x_0`` and ``x_t`` in its mean, and its variance.

    Ho et al. (2020), equations 6 and 7.
    """
    of_x_0 = beta * signal_before**0.5 / (1 - signal)
    of_x_t = (1 - beta) ** 0.5 * (1 - signal_before) / (1 - signal)
    return of_x_0, of_x_t, beta * (1 - signal_before) / (1 - signal)
