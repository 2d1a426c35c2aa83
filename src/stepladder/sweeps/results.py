"""Brings the children of a sweep together: each point's metric over the seeds, with its interval; the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stepladder.params import load
from stepladder.studies import results as studies
from stepladder.studies.results import Figure, over_seeds
from stepladder.sweeps import space
from stepladder.sweeps.child import Child
from stepladder.sweeps.space import Point
from stepladder.sweeps.spec import JUDGED, Sweep
from stepladder.tracking.sweeps import Table


@dataclass(frozen=True)
class Row:
    """The result of one point.

    Attributes:
        figure: the metric over the seeds; its mean is ``None`` unless every seed has a value.
        steps: the S of the figure, which is the S with the best mean; ``None`` without sampling steps.
        seconds: of training, the mean over the finished seeds.
        unfinished: by seed, why there is no value: ``failed: ...``, ``pruned: ...`` or ``not run``.
    """

    point: Point
    figure: Figure
    steps: int | None = None
    seconds: float | None = None
    unfinished: dict[int, str] = field(default_factory=dict)


def row(children: Sequence[Child]) -> Row:
    """The row of one point from its ``children``, one for each seed."""
    first = children[0]
    finished = {child.seed: metrics for child in children if (metrics := child.finished())}
    unfinished = {child.seed: _why(child.outcome()) for child in children if child.seed not in finished}
    sweep, metric = first.sweep, first.sweep.metric
    confidence = load(preset=sweep.preset).evaluation.confidence
    seconds = [metrics["training"]["seconds"] for metrics in finished.values()]
    mean_seconds = sum(seconds) / len(seconds) if seconds else None
    steps = None
    if sweep.is_judged and sweep.family in JUDGED and finished:
        study = sweep.as_study({first.id: first.point})
        cells = [studies.read_cell(child.folder) for child in children if child.seed in finished]
        rows = studies.rows(study, cells, confidence)
        best = studies.best(rows, metric) or rows[0]
        figure = best.figures.get(metric, Figure(dict.fromkeys(finished)))
        steps = best.steps if best.sampling else None
    else:
        values = {
            seed: metrics.get("text", {}).get(metric, metrics["training"].get(metric))
            for seed, metrics in finished.items()
        }
        figure = over_seeds(values, [], confidence)
    for seed, value in figure.each.items():
        if not is_number(value):
            unfinished.setdefault(seed, f"failed: {metric} is {'not measured' if value is None else value}")
    if unfinished.keys() - figure.each.keys():
        figure = Figure(figure.each)
    return Row(first.point, figure, steps, mean_seconds, dict(sorted(unfinished.items())))


def ranked(sweep: Sweep, rows: Sequence[Row]) -> list[Row]:
    """The rows sorted: the best mean first, those without a mean last."""
    return sorted(rows, key=lambda r: (r.figure.mean is None, -sweep.sign * (r.figure.mean or 0.0)))


def table(sweep: Sweep, rows: Sequence[Row]) -> str:
    """The table as text: a line for each point, the best first, then why some have no mean."""
    keys = [dimension.key for dimension in sweep.dimensions]
    short = [space.label({key: ""}).rstrip("=") for key in keys]
    heads = [
        "",
        *short,
        *(["S"] if any(r.steps for r in rows) and space.SAMPLING_STEPS not in keys else []),
        sweep.metric,
        "interval",
        "seeds",
        "training, s",
    ]
    lines = [heads]
    for place, r in enumerate(ranked(sweep, rows), 1):
        finished = sum(is_number(value) for value in r.figure.each.values())
        f = r.figure
        interval = f"{f.low:.4g} to {f.high:.4g}" if f.low is not None and f.high is not None else ""
        lines.append(
            [
                str(place) if f.mean is not None else "-",
                *(str(r.point[key]) for key in keys),
                *([str(r.steps or "")] if len(heads) > len(keys) + 5 else []),
                f"{f.mean:.4g}" if f.mean is not None else (sorted(r.unfinished.values()) or [""])[0].partition(":")[0],
                interval,
                f"{finished} of {len(sweep.seeds)}",
                f"{r.seconds:.1f}" if r.seconds is not None else "",
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    reasons = [
        f"{space.label(r.point)}, seed {seed}: {why}"
        for r in rows
        for seed, why in r.unfinished.items()
        if why != "not run"
    ]
    return "\n".join([*text, *([""] if reasons else []), *reasons])


def as_json(sweep: Sweep, rows: Sequence[Row]) -> Table:
    """The table as JSON."""
    return {
        "metric": sweep.metric,
        "direction": "maximize" if sweep.sign > 0 else "minimize",
        "seeds": list(sweep.seeds),
        "rows": [
            {
                "point": r.point, "mean": r.figure.mean, "low": r.figure.low, "high": r.figure.high,
                "deviation": r.figure.deviation, "each": r.figure.each, "sampling_steps": r.steps, "seconds": r.seconds,
                "unfinished": r.unfinished,
            }
            for r in ranked(sweep, rows)
        ],
    }  # fmt: skip


def _why(outcome: dict[str, str]) -> str:
    return f"{outcome['status']}: {outcome['why']}" if outcome else "not run"


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
