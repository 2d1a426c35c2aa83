"""When a model counts as failed: one criterion for pictures and one for every text task, fixed before anything is compared.

Studies, the recommendation, the report and the gate before @champion all use it; the bounds are those of ``promotion``.
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
    """Why a model of pictures counts as failed, in a few words; empty where it does not.

    It failed where a figure is not a finite number (it diverged); where the Frechet distance is above ten times the
    floor's (it does not generate the data); where the coverage (Naeem et al. 2020), the share of real pictures that have a
    generated one among their nearest, is below half of the floor's, or fewer than 80% of the pictures are of the class of
    their condition (it collapsed: part of the data is not generated). What was not measured is not judged.

    Args:
        point: ``frechet`` and, where measured, ``coverage`` and ``accuracy``.
        floor: ``frechet`` and, where measured, ``coverage``, of real pictures.
        limits: the three bounds: ``floor_ratio``, ``coverage`` and ``accuracy``.
    """
    not_finite = [name for name, value in point.items() if isinstance(value, float) and not math.isfinite(value)]
    if not_finite:
        return f"diverged: {', '.join(not_finite)} not finite"
    if floor.get("frechet") and point["frechet"] > limits.floor_ratio * floor["frechet"]:
        ratio = point["frechet"] / floor["frechet"]
        return f"poor: Frechet {ratio:.1f} times the floor, above {limits.floor_ratio:g}"
    min_coverage = limits.coverage * floor.get("coverage", 1.0)
    if point.get("coverage", 1.0) < min_coverage:
        return f"collapsed: coverage {point['coverage']:.2f}, below {min_coverage:.2f}"
    if point.get("accuracy", 1.0) < limits.accuracy:
        return f"collapsed: accuracy {point['accuracy']:.2f}, below {limits.accuracy:.2f}"
    return ""


@dataclass(frozen=True)
class Baseline:
    """What a language model must be better than: the figure of one that has learned nothing of its task.

    Attributes:
        figure: name of the one by which the task is judged.
        value: that of the baseline. what: how it is obtained, in words.
    """

    figure: str
    value: float
    what: str


def baseline(metrics: Figures) -> Baseline | None:
    """The best of the baselines of its task that an evaluation of text measured; ``None`` where it measured none."""
    task = TASKS[name_of(metrics)].judging
    measured = [(value, what) for value, what in task.baseline(metrics) if value is not None]
    return Baseline(task.figure, *max(measured)) if measured and task.figure in metrics else None


def failed_text(metrics: Figures, limits: Promotion = USUAL) -> str:
    """Why a language model counts as failed by the ``metrics`` of its evaluation, in a few words; empty where it does not."""
    base = baseline(metrics)
    if base is None:
        return ""
    value = float(metrics[base.figure])
    low, high = (float(metrics.get(f"{base.figure}_{end}", value)) for end in ("low", "high"))
    return unskilled(base, value, low, high, limits)


def unskilled(base: Baseline, value: float, low: float, high: float, limits: Promotion = USUAL) -> str:
    """Why a model with this figure and interval counts as failed: it diverged, or is not better than the baseline.

    It is better only where the whole interval is better than the baseline.
    """
    name = base.figure.replace("_", " ")
    if not math.isfinite(value):
        return f"diverged: {name} not finite"
    if not limits.above_baseline or (high < base.value if FIGURES[base.figure].smaller_is_better else low > base.value):
        return ""
    return f"no skill: {name} {value:.3g} ({low:.3g} to {high:.3g}) is not better than {base.what}, {base.value:.3g}"
