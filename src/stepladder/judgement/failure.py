"""When a model counts as failed: one criterion for pictures and one for every task of text, stated before anything is compared.

Studies, the recommendation, the report and the gate before @champion all ask here; the bounds are those of ``promotion``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepladder.metrics.texts import FIGURES
from stepladder.params import Promotion
from stepladder.text_tasks.tasks import TASKS, name_of

Figures = Mapping[str, Any]
USUAL = Promotion()


def failed(point: Figures, floor: Figures, limits: Promotion = USUAL) -> str:
    """Why a model of pictures counts as failed by their figures, in a few words; empty where it does not.

    It failed where a figure is not a finite number (it diverged); where the Frechet distance is above ten times the
    floor's (it does not draw the data); where the coverage (Naeem et al. 2020), the share of real pictures that have a
    drawn one among their nearest, is below half of the floor's, or fewer than 80% of the pictures are of the class asked
    for (it collapsed: part of the data is not drawn). What was not measured is not judged.

    Args:
        point: ``frechet`` and, where measured, ``coverage`` and ``accuracy``.
        floor: ``frechet`` and, where measured, ``coverage``, of real pictures.
        limits: the three bounds: ``floor_ratio``, ``coverage`` and ``accuracy``.
    """
    bad = [name for name, value in point.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        return f"diverged: {', '.join(bad)} not finite"
    if floor.get("frechet") and point["frechet"] > limits.floor_ratio * floor["frechet"]:
        ratio = point["frechet"] / floor["frechet"]
        return f"poor: Frechet {ratio:.1f} times the floor, above {limits.floor_ratio:g}"
    least = limits.coverage * floor.get("coverage", 1.0)
    if point.get("coverage", 1.0) < least:
        return f"collapsed: coverage {point['coverage']:.2f}, below {least:.2f}"
    if point.get("accuracy", 1.0) < limits.accuracy:
        return f"collapsed: accuracy {point['accuracy']:.2f}, below {limits.accuracy:.2f}"
    return ""


@dataclass(frozen=True)
class Baseline:
    """What a language model must be better than: the figure of one that has learned nothing of its task.

    Attributes:
        figure: by which the task is judged.
        value: the baseline's. what: how it is got, in words.
    """

    figure: str
    value: float
    what: str


def baseline(metrics: Figures) -> Baseline | None:
    """The baseline that an evaluation of text measured, the best of those that its task names; ``None`` where it measured none."""
    task = TASKS[name_of(metrics)].judging
    measured = [(value, what) for value, what in task.baseline(metrics) if value is not None]
    return Baseline(task.figure, *max(measured)) if measured and task.figure in metrics else None


def failed_text(metrics: Figures, limits: Promotion = USUAL) -> str:
    """Why a language model counts as failed by the ``metrics`` of its evaluation, in a few words; empty where it does not."""
    than = baseline(metrics)
    if than is None:
        return ""
    value = float(metrics[than.figure])
    low, high = (float(metrics.get(f"{than.figure}_{end}", value)) for end in ("low", "high"))
    return unskilled(than, value, low, high, limits)


def unskilled(than: Baseline, value: float, low: float, high: float, limits: Promotion = USUAL) -> str:
    """Why a model of that figure, with its interval, counts as failed: it diverged, or is not better than the baseline.

    Better is by more than the interval: its end on the baseline's side is on the good side of the baseline.
    """
    name = than.figure.replace("_", " ")
    if not math.isfinite(value):
        return f"diverged: {name} not finite"
    if not limits.above_baseline or (high < than.value if FIGURES[than.figure].smaller_is_better else low > than.value):
        return ""
    return f"no skill: {name} {value:.3g} ({low:.3g} to {high:.3g}) is not better than {than.what}, {than.value:.3g}"
