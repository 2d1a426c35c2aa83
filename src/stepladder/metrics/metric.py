"""What is known of a figure, whoever shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A figure.

    Attributes:
        label: as on a page. better: -1 where smaller is better, 1 where larger is.
        share: it is between 0 and 1. cost: it is what something takes, not how good it is. signed: it can be below 0.
        of_model: of the model, however it is drawn from.
        judged: an evaluation has it, with its interval where it has one; else a study alone, from the curve of a training.
        headline: it is among the few that are shown first: in ``dvc metrics``, in a sweep's charts.
        support: it says how much of the data is drawn, and how much of what is drawn is data.
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
        """Between which every value lies."""
        return (-math.inf if self.signed else 0.0), (1.0 if self.share else math.inf)

    @property
    def smaller_is_better(self) -> bool:
        """Whether a smaller value is the better one."""
        return self.better < 0


ACCURACY = Metric("accuracy", 1, share=True, headline=True)
