"""Intervals of figures that are estimated from a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats


def bootstrap_interval(estimate: float, resampled: npt.NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """How far ``estimate`` would vary with another sample of the same size: the resampled deviations from their mean.

    Efron and Tibshirani (1993), chapter 13, with the mean in place of the estimate: resampling adds to a distance an upward bias
    of its own, which is no error of the estimate. A bias of the estimate itself stays, and is the floor's too. The estimate is
    always inside.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) - resampled.mean()
    return estimate + min(float(low), 0.0), estimate + max(float(high), 0.0)


def resample(
    statistic: Callable[[npt.NDArray[np.int64]], float], strata: npt.NDArray[np.int64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """``statistic(rows)`` of ``resamples`` draws of as many rows as ``strata`` ``(N,)`` has, with replacement.

    Rows are drawn within each stratum: what has fixed shares in the sample, such as classes, keeps them.
    """
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    return np.array(
        [
            statistic(np.concatenate([rows[random.integers(len(rows), size=len(rows))] for rows in members]))
            for _ in range(resamples)
        ]
    )


def proportion(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
