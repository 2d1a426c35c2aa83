"""``q(x_{t-1} | x_t, x_0)`` of a variance preserving chain: Ho et al. (2020), equations 6 and 7."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.diffusion.processes.schedules import Schedule

Array = npt.NDArray[np.float64]


def posterior(beta: float, signal: float, signal_before: float) -> tuple[float, float, float]:
    """``q(x_{t-1} | x_t, x_0)`` is normal: coefficients of ``x_0`` and ``x_t`` in its mean, and its variance.

    Ho et al. (2020), equations 6 and 7.
    """
    x_0_coef = beta * signal_before**0.5 / (1 - signal)
    x_t_coef = (1 - beta) ** 0.5 * (1 - signal_before) / (1 - signal)
    return x_0_coef, x_t_coef, beta * (1 - signal_before) / (1 - signal)


@dataclass(frozen=True)
class Posteriors:
    """The posteriors of all T steps of a chain, ``(T,)`` each.

    Attributes:
        x_0_coef: coefficient of ``x_0`` in the posterior's mean.
        log_smallest: logarithm of the posterior's variance. The first step's is zero: it takes that of the second, as
            in Ho et al. (2020) and Nichol and Dhariwal (2021); a chain of one step takes beta.
        log_largest: logarithm of beta.
    """

    x_0_coef: Array
    log_smallest: Array
    log_largest: Array


def posteriors(schedule: Schedule) -> Posteriors:
    """The posteriors of a (respaced) chain."""
    before = np.concatenate([[1.0], schedule.alphas_cumprod[:-1]])
    rest = 1 - schedule.alphas_cumprod
    variance = schedule.betas * (1 - before) / rest
    variance[0] = variance[1] if len(variance) > 1 else schedule.betas[0]
    return Posteriors(schedule.betas * np.sqrt(before) / rest, np.log(variance), np.log(schedule.betas))
