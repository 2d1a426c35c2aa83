"""Intervals of figures that are estimated from a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats


def basic_bootstrap(estimate: float, resampled: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The basic (pivotal) interval: ``estimate`` less the quantiles of the resampled error (Davison and Hinkley 1997, 5.6).

    It takes the upward bias of distances, which resampling repeats, back out; where that would go below zero, zero. The
    estimate itself is always inside.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return min(max(2 * estimate - float(high), 0.0), estimate), max(2 * estimate - float(low), estimate)


def resample(
    statistic: Callable[[npt.NDArray[np.int64]], float], size: int, resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """``statistic(rows)`` of ``resamples`` draws of ``size`` rows with replacement."""
    random = np.random.default_rng(seed)
    return np.array([statistic(random.integers(size, size=size)) for _ in range(resamples)])


def proportion(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
