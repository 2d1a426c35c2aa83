"""The forward process q and what it says of the reverse: pure functions of tensors and tables.

A noise level is (alpha, sigma): ``x = alpha x_0 + sigma eps``. Of the T steps of a variance preserving chain alpha^2 is
alphas_cumprod, here ``signal``, and sigma^2 the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stepladder.diffusion.schedules import Schedule, curve
from stepladder.diffusion.settings import settings

Array = npt.NDArray[np.float64]
Level = Tensor | float

EDM_SIGMAS = (0.002, 80.0)


def q_sample(x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """``x`` at a level, given data ``x_0`` and standard normal ``eps``: Ho et al. (2020), equation 4."""
    return alpha * x_0 + sigma * eps


def to_eps(x_0: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The noise between ``x_0`` and ``x``."""
    return (x - alpha * x_0) / sigma


def posterior(beta: float, signal: float, signal_before: float) -> tuple[float, float, float]:
    """``q(x_{t-1} | x_t, x_0)`` is normal: factors of ``x_0`` and ``x_t`` in its mean, and its variance.

    Ho et al. (2020), equations 6 and 7.
    """
    of_x_0 = beta * signal_before**0.5 / (1 - signal)
    of_x_t = (1 - beta) ** 0.5 * (1 - signal_before) / (1 - signal)
    return of_x_0, of_x_t, beta * (1 - signal_before) / (1 - signal)


@dataclass(frozen=True)
class Posteriors:
    """Of all T steps of a chain, ``(T,)`` each.

    Attributes:
        of_x_0: factor of ``x_0`` in the posterior's mean.
        log_smallest: logarithm of the posterior's variance. The first step has none, and takes that of the second, as
            Ho et al. (2020) and Nichol and Dhariwal (2021) do; a chain of one step takes beta.
        log_largest: logarithm of beta.
    """

    of_x_0: Array
    log_smallest: Array
    log_largest: Array


def posteriors(schedule: Schedule) -> Posteriors:
    """The posteriors of a (respaced) chain."""
    before = np.concatenate([[1.0], schedule.alphas_cumprod[:-1]])
    rest = 1 - schedule.alphas_cumprod
    variance = schedule.betas * (1 - before) / rest
    variance[0] = variance[1] if len(variance) > 1 else schedule.betas[0]
    return Posteriors(schedule.betas * np.sqrt(before) / rest, np.log(variance), np.log(schedule.betas))


def level_at(config: dict[str, Any]) -> Callable[[Array], tuple[Array, Array]]:
    """(alpha, sigma) of a process in continuous time as a function of u in [0, 1], which the network is told.

    ``continuous``: variance preserving, log-SNR the schedule's curve (Kingma et al. 2021). ``edm``: alpha is 1, ln sigma
    goes evenly from ln 0.002 to ln 80 (Karras et al. 2022). ``flow``: straight from data to noise (Liu et al. 2023).
    """
    process = settings(config)["process"]
    if process == "edm":
        least, most = np.log(EDM_SIGMAS)
        return lambda u: (np.ones_like(u), np.exp(least + (most - least) * u))
    if process == "flow":
        return lambda u: (1 - u, u)
    log_snr = curve(config)
    return lambda u: (_root_share(log_snr(u)), _root_share(-log_snr(u)))


def time_at(config: dict[str, Any]) -> Callable[[Array], Array]:
    """The u at which ln(sigma / alpha) has a value; beyond the process's values the nearest end.

    Of ``continuous`` by bisection of the curve.
    """
    process = settings(config)["process"]
    if process == "edm":
        least, most = np.log(EDM_SIGMAS)
        return lambda log_sigma: np.clip((log_sigma - least) / (most - least), 0, 1)
    if process == "flow":
        return lambda log_sigma: 1 / (1 + np.exp(-log_sigma))
    log_snr = curve(config)

    def bisected(log_sigma: Array) -> Array:
        low, high = np.zeros_like(log_sigma), np.ones_like(log_sigma)
        for _ in range(60):
            middle = (low + high) / 2
            below = -log_snr(middle) / 2 < log_sigma
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high

    return bisected


def _root_share(log_snr: Array) -> Array:
    return np.exp(-0.5 * np.logaddexp(0, -log_snr))
