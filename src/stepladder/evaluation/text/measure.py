"""A score over many items; by the bootstrap, its interval and whether it differs between two systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from stepladder.errors import UserError
from stepladder.metrics.texts import FIGURES, TextMetrics

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A score that is a function of statistics summed over items, as corpus BLEU is of its n-gram counts.

    Attributes:
        statistics: of each item, ``(N, K)``.
        of: the score of a sum ``(K,)``.
        name: in ``metrics.texts``.
        signature: how it was computed.
    """

    name: str
    statistics: Floats
    of: Callable[[Floats], float]
    signature: str = ""

    @property
    def value(self) -> float:
        """The score of all items."""
        return self.of(self.statistics.sum(0))

    def resampled(self, counts: npt.NDArray[np.integer]) -> Floats:
        """The score of each resample, ``(R,)``, in which item ``i`` occurs ``counts[r, i]`` times."""
        return np.array([self.of(total) for total in counts @ self.statistics])


@dataclass(frozen=True)
class Difference:
    """The difference of a score between two systems, B minus A, on the same items.

    Attributes:
        low, high: percentile interval of the difference.
        better: share of resamples in which B is strictly better (Koehn 2004, section 4).
        p: two-sided p-value of the hypothesis that they do not differ: the share of resamples whose difference, less its
            mean, is at least as large. sacreBLEU counts larger ones only, and so gives a system against itself p = 0.001; here
            it is 1.
    """

    name: str
    a: float
    b: float
    low: float
    high: float
    better: float
    p: float

    @property
    def verdict(self) -> str:
        """In words; there is a difference where the interval does not contain 0."""
        if self.low <= 0 <= self.high:
            return "no difference shown"
        return "B is better" if (self.b < self.a) == FIGURES[self.name].smaller_is_better else "A is better"


def resamples(items: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """``(count, items)``: how often each item occurs in each of ``count`` resamples with replacement."""
    samples = np.random.default_rng(seed).choice(items, size=(count, items), replace=True)
    return np.array([np.bincount(row, minlength=items) for row in samples])


def intervals(measures: list[Score], *, count: int, confidence: float, seed: int) -> dict[str, tuple[float, float]]:
    """Percentile intervals of each of ``measures`` over resampled items (Koehn 2004)."""
    counts = resamples(len(measures[0].statistics), count, seed)
    return {m.name: _percentiles(m.resampled(counts), confidence) for m in measures}


def scored(measures: list[Score], *, count: int, confidence: float, seed: int) -> TextMetrics:
    """Each measure's value under its name, and its interval under ``NAME_low`` and ``NAME_high``."""
    metrics = {m.name: m.value for m in measures}
    for name, (low, high) in intervals(measures, count=count, confidence=confidence, seed=seed).items():
        metrics |= {f"{name}_low": low, f"{name}_high": high}
    return cast(TextMetrics, metrics)


def difference(a: Score, b: Score, *, count: int, confidence: float, seed: int) -> Difference:
    """Paired bootstrap resampling of two systems' scores on the same items (Koehn 2004).

    Raises:
        UserError: the systems were judged on different numbers of items.
    """
    if len(a.statistics) != len(b.statistics):
        raise UserError(
            f"{a.name} was measured on {len(a.statistics)} items of one and {len(b.statistics)} of the other; a paired test "
            "needs the same items in the same order."
        )
    counts = resamples(len(a.statistics), count, seed)
    deltas = b.resampled(counts) - a.resampled(counts)
    actual, sizes = b.value - a.value, np.abs(deltas)
    low, high = _percentiles(deltas, confidence)
    larger = int((sizes - sizes.mean() >= abs(actual)).sum())
    return Difference(
        name=a.name, a=a.value, b=b.value, low=low, high=high,
        better=float((deltas < 0 if FIGURES[a.name].smaller_is_better else deltas > 0).mean()), p=(larger + 1) / (count + 1),
    )  # fmt: skip


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
