"""Intervals of figures that are estimated from a sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def bootstrap_interval(estimate: float, resampled: Array, confidence: float) -> tuple[float, float]:
    """The interval in which ``estimate`` varies over samples of the same size, from the deviations of ``resampled`` from their mean.

    Efron and Tibshirani (1993), chapter 13, with the mean in place of the estimate: resampling adds to a distance an upward bias,
    which is no error of the estimate. A bias of the estimate itself stays, and the floor has it too. The estimate is
    always inside.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail]) - resampled.mean()
    return estimate + min(float(low), 0.0), estimate + max(float(high), 0.0)


def resampled(strata: Labels, resamples: int, seed: int) -> Labels:
    """Row numbers of ``resamples`` bootstrap samples, each as large as ``strata`` ``(N,)``, ``(resamples, N)``.

    Rows are sampled with replacement within each stratum, so that what has fixed shares, such as classes, keeps them.
    """
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    return np.concatenate([rows[random.integers(len(rows), size=(resamples, len(rows)))] for rows in members], axis=1)


def resample(statistic: Callable[[Labels], float], strata: Labels, resamples: int, seed: int) -> Array:
    """``statistic(rows)`` of each of the bootstrap samples of ``resampled``, ``(resamples,)``."""
    return np.array([statistic(rows) for rows in resampled(strata, resamples, seed)])


def halves(strata: Labels, resamples: int, seed: int) -> npt.NDArray[np.bool_]:
    """``resamples`` random halves of each stratum of ``strata`` ``(N,)``, as rows of a mask ``(resamples, N)``.

    For figures of a set that repeated members would distort, such as distances to nearest neighbours: a half sampled without replacement
    deviates from the full set as that does from another full set (variance s^2 (2/N - 1/N) = s^2/N; Politis and Romano 1994).
    Strata of odd size are rounded up and down in turn.
    """
    random = np.random.default_rng(seed)
    masks = np.zeros((resamples, len(strata)), dtype=bool)
    round_up = False
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        count, round_up = (len(rows) + (round_up if len(rows) % 2 else 0)) // 2, round_up ^ bool(len(rows) % 2)
        order = random.random((resamples, len(rows))).argsort(1)[:, :count]
        np.put_along_axis(masks, rows[order], True, axis=1)
    return masks


def proportion(successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
