"""The figures that a version is judged by, as its tags: whoever compares versions reads them there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepladder.judgement import failure, identity
from stepladder.judgement.failure import Baseline
from stepladder.metrics.every import METRICS
from stepladder.params import Promotion
from stepladder.text_tasks.tasks import TASKS, name_of

FIGURE, SMALLER = "figure", "smaller_is_better"  # tags of a version: which of its figures counts, and how, for people
HELD_OUT, JUDGE = "held_out_hash", "judge"  # what it was judged on, before tokenisation; that and by which judge
FLOOR, FLOOR_COVERAGE, BASELINE, BASELINE_OF = "floor", "floor_coverage", "baseline", "baseline_of"
Tags = Mapping[str, str]
Figure = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Figures:
    """The figures of a model from one evaluation.

    Attributes:
        name, value: the figure that counts.
        judged: how it was measured; figures measured in different ways are not compared.
        further: other figures.
    """

    name: str
    value: float
    judged: str
    further: Mapping[str, object]

    @property
    def tags(self) -> dict[str, str]:
        """As tags of a version in the registry."""
        values = {
            **self.further,
            self.name: self.value,
            FIGURE: self.name,
            SMALLER: str(METRICS[self.name].smaller_is_better).lower(),
            "judged": self.judged,
        }
        return {name: str(value) for name, value in values.items() if value is not None and value != ""}


def of_pictures(point: Mapping[str, Any], floor: Mapping[str, Any], judged: Mapping[str, Any]) -> Figures:
    """The figures of a point (T, S); ``floor``: those of real pictures, ``judged``: see ``identity.judged``."""
    names = ("timesteps", "sampling_steps", "frechet_low", "frechet_high", "accuracy", "kid", "coverage")
    real = floor.get("frechet")
    return Figures(
        name="frechet",
        value=point["frechet"],
        judged=f"{point.get('images')} pictures" + (f", floor {real:.3g}" if real else ""),
        further={name: point.get(name) for name in names}
        | {FLOOR: real, FLOOR_COVERAGE: floor.get("coverage")}
        | _origin(judged),
    )


def of_text(scores: Mapping[str, Any]) -> Figures | None:
    """The figures of an evaluation of text; ``None`` for a model that cannot be served."""
    task = TASKS[name_of(scores)]
    if task.served is None:
        return None
    figure, baseline = task.judging.figure, failure.baseline(scores)
    names = (f"{figure}_low", f"{figure}_high", *task.served.further)
    compared = {BASELINE: baseline.value, BASELINE_OF: baseline.what} if baseline else {}
    further = {each: scores.get(each) for each in names} | compared | _origin(scores.get("judged") or {})
    return Figures(figure, scores[figure], task.served.judged(scores), further)


def of_metrics(metrics: Mapping[str, Any]) -> Figures | None:
    """The figures in one model's ``metrics.json``; those of its first point where it has several."""
    if "points" in metrics:
        return of_pictures(metrics["points"][0], metrics.get("floor") or {}, metrics.get("judged") or {})
    return of_text(metrics)


def _origin(judged: Mapping[str, Any]) -> dict[str, str | None]:
    return {HELD_OUT: judged.get("held_out"), JUDGE: identity.mark(judged)}


def figure(tags: Tags, name: str = "") -> Figure:
    """The figure that a version is judged by, or that ``name``; low and high are the value itself where it has no interval."""
    name = name or tags[FIGURE]
    value = float(tags[name])
    return value, float(tags.get(f"{name}_low", value)), float(tags.get(f"{name}_high", value))


def text(tags: Tags, name: str = "") -> str:
    """The figure that a version is judged by, or the one of that ``name``, with its interval, for people."""
    name = name or tags.get(FIGURE, "")
    if not name or name not in tags:
        return "no figure"
    value, low, high = figure(tags, name)
    return f"{name} {value:.4g}" + (f" ({low:.4g} to {high:.4g})" if low < high else "")


def difference(ours: Figure, theirs: Figure) -> tuple[float, float]:
    """The interval of ``ours`` minus ``theirs``, each (value, low, high) and independent of the other (MOVER)."""
    (a, a_low, a_high), (b, b_low, b_high) = ours, theirs
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def better(ours: Tags, theirs: Tags) -> bool:
    """Whether the interval of the difference of the two figures is on the good side of zero."""
    low, high = difference(figure(ours), figure(theirs))
    return high < 0 if METRICS[ours[FIGURE]].smaller_is_better else low > 0


def failed(tags: Tags, limits: Promotion) -> str:
    """Why a version counts as failed by its figures, in a few words; empty where it does not. Missing figures do not count."""
    numbers = {name: float(tags[name]) for name in ("frechet", "coverage", "accuracy") if name in tags}
    if tags.get(FIGURE) == "frechet":
        real = {"frechet": FLOOR, "coverage": FLOOR_COVERAGE}
        return failure.failed(numbers, {name: float(tags[tag]) for name, tag in real.items() if tag in tags}, limits)
    if not tags.get(FIGURE) or BASELINE not in tags:
        return ""
    baseline = Baseline(tags[FIGURE], float(tags[BASELINE]), tags.get(BASELINE_OF, ""))
    return failure.unskilled(baseline, *figure(tags), limits)
