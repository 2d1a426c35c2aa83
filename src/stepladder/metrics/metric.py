"""The description of a figure, the same wherever it is printed or plotted."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A figure.

    Attributes:
        label: its name on a page. better: -1 where smaller is better, 1 where larger is.
        share: it is between 0 and 1. cost: it measures time, size or work, not quality. signed: it can be below 0.
        of_model: it belongs to the model, however that is sampled.
        judged: evaluations have it, with an interval where it has one; otherwise only studies, from the curve of a training.
        headline: it is one of the few that are printed first: in ``dvc metrics``, in a sweep's charts.
        support: it measures how much of the data is generated, or how much of what is generated is like the data.
        band: plots show its interval.
    """

    label: str
    better: int
    share: bool = False
    cost: bool = False
    signed: bool = False
    of_model: bool = False
    judged: bool = True
    headline: bool = False
    support: bool = False
    band: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest possible value."""
        return (-math.inf if self.signed else 0.0), (1.0 if self.share else math.inf)

    @property
    def smaller_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self.better < 0


ACCURACY = Metric("accuracy", 1, share=True, headline=True)
