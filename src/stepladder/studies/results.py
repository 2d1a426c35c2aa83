"""Brings the cells of a study together: each figure over the seeds, with its spread and its interval."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NotRequired, TypedDict

import numpy as np
from scipy import stats

from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.errors import UserError
from stepladder.judgement.failure import failed
from stepladder.metrics.every import METRICS
from stepladder.metrics.numbers import value_of
from stepladder.metrics.pictures import Protocol
from stepladder.params import Sampling
from stepladder.studies import spec
from stepladder.studies.possible import LEAST_SEEDS
from stepladder.studies.spec import Study
from stepladder.values import Values

FEWEST = LEAST_SEEDS


class Point(TypedDict):
    """The results of a cell for one way to sample from its arm. The figures of ``METRICS`` and the ends of their
    intervals are further keys, ``None`` where they are not numbers: ``value_of`` reads them.
    """  # fmt: skip

    sampling: Values | None  # None: without sampling steps
    steps: int  # S; 1 of one pass, 0 of text
    strip: str  # file of pictures in the cell's folder; "": none
    frechet: NotRequired[float | None]


class Timing(TypedDict):
    """The conditions in which a training was timed."""

    at_once: int  # cells that ran at the same time
    threads: int
    device: str


class Cell(TypedDict):
    """``metrics.json`` of one arm trained with one seed."""

    study: str
    arm: str
    seed: int
    family: str
    timesteps: int | None  # T
    points: list[Point]
    bits_per_dim: float | None
    training: dict[str, float]
    run: dict[str, object]  # ids of its run in the tracking store, where known
    floor: dict[str, float]  # figures of real pictures; empty for text
    held_out: object
    protocol: Protocol
    timing: NotRequired[Timing]  # a child of a sweep has none
    folder: NotRequired[str]  # the folder it was read from


@dataclass(frozen=True)
class Figure:
    """One measure over the seeds.

    Attributes:
        each: the values by seed, ``None`` where there is none (pictures that are not numbers, a measure that does not apply).
        mean, deviation: over the seeds, ``None`` unless every seed has a value; the deviation is the sample's, of two or more.
        low, high: the interval. With three seeds or more, Student's: how far the mean would vary with other seeds.
            With fewer, from the smallest to the largest end of the intervals of the single runs.
    """

    each: dict[int, float | None]
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One arm sampled in one way.

    Attributes:
        arm, sampling (``None``: one pass), steps: which arm and way; timesteps: its T, ``None`` without.
        figures: by measure. failures: by seed, why it counts as failed. strips: by seed, its file of pictures.
    """

    arm: str
    sampling: Values | None
    steps: int
    timesteps: int | None
    figures: dict[str, Figure] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    strips: dict[int, Path] = field(default_factory=dict)

    @property
    def way(self) -> str:
        """How it is sampled, without S: ``"DDIM, quadratic"``; empty for a language model, which samples nothing."""
        if self.sampling is None:
            return "one pass" if self.steps else ""
        return sampling_label(self.sampling)

    @property
    def name(self) -> str:
        """``"T50, DDIM, S=10"``."""
        return ", ".join(filter(None, [self.arm, self.way, f"S={self.steps}" if self.sampling is not None else ""]))

    def called(self, measure: str) -> str:
        """Its name in a sentence about ``measure``: the arm alone where sampling does not change the measure."""
        return self.arm if METRICS[measure].of_model else self.name

    def mean(self, measure: str) -> float | None:
        """The mean of ``measure`` over the seeds; ``None`` without one."""
        figure = self.figures.get(measure)
        return figure.mean if figure else None


def sampling_label(sampling: Values) -> str:
    """A way to sample in words: the sampler, and the parameters that differ from their defaults."""
    defaults = Sampling().model_dump(mode="json")
    sampler = str(sampling["sampler"])
    record = SAMPLERS.get(sampler)
    parts = [record.title if record else sampler]
    for key, value in sampling.items():
        if key == "sampler" or value == defaults.get(key):
            continue
        word = {"guidance_scale": "scale", "guidance_interval": "between", "guidance_rescale": "rescale"}.get(key, key)
        if key in ("spacing", "variance"):
            parts.append(str(value).replace("_", " "))
        elif isinstance(value, list | tuple):
            parts.append(f"{word} " + " and ".join(f"{v:g}" for v in value))
        elif isinstance(value, bool):
            parts.append(word if value else f"no {word}")
        else:
            parts.append(f"{word} {value:g}" if isinstance(value, int | float) else f"{word} {value}")
    return ", ".join(parts)


def over_seeds(
    each: dict[int, float | None],
    intervals: Sequence[tuple[float, float]],
    confidence: float,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Figure:
    """The values ``each`` by seed as one figure; ``intervals``: those of the single runs, where they have some.

    The interval is cut off at ``bounds``.

    With a missing or infinite value the figure has no mean: failed seeds are not averaged away.
    """
    values = [v for v in each.values() if v is not None and math.isfinite(v)]
    if not values or len(values) < len(each):
        return Figure(each)
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    low: float | None
    high: float | None
    if len(values) >= FEWEST:
        assert deviation is not None
        half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
        low, high = mean - half, mean + half
    elif intervals:
        low, high = min(a for a, _ in intervals), max(b for _, b in intervals)
    else:
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    if low is not None and high is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Figure(each, mean, deviation, low, high)


def read(name: str, study: Study, cells: Path) -> tuple[list[Cell], list[tuple[str, int]]]:
    """The cells of ``study`` in the folder ``cells``, and (arm, seed) of those that are not finished.

    Raises:
        UserError: cells were judged by different networks or on different data.
    """
    finished, missing = [], []
    for arm in study.arms:
        for seed in study.seeds:
            folder = cells / f"{arm}-{seed}"
            if (folder / "metrics.json").exists():
                finished.append(read_cell(folder))
            else:
                missing.append((arm, seed))
    floors = {cell["floor"].get("frechet", math.nan): f"{cell['arm']}-{cell['seed']}" for cell in finished}
    if floors and not np.allclose(list(floors), next(iter(floors)), rtol=1e-3, equal_nan=True):
        raise UserError(
            f"The cells of {name} were judged by different networks or data (floors "
            f"{', '.join(f'{v:.4g} of {n}' for v, n in floors.items())}); `dvc repro studies/{name}/dvc.yaml` judges them again."
        )
    return finished, missing


def read_cell(folder: Path) -> Cell:
    """The finished cell in ``folder``."""
    cell: Cell = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    cell["folder"] = str(folder)
    return cell


def failures(missing: Sequence[tuple[str, int]], cells: Path) -> dict[tuple[str, int], str]:
    """For each of the ``missing`` cells in the folder ``cells`` whose training failed, the reason."""
    files = {cell: cells / f"{cell[0]}-{cell[1]}" / spec.FAILED for cell in missing}
    return {cell: json.loads(f.read_text(encoding="utf-8"))["why"] for cell, f in files.items() if f.exists()}


def rows(
    study: Study, cells: Sequence[Cell], confidence: float, failed: Mapping[tuple[str, int], str] = MappingProxyType({})
) -> list[Row]:
    """One row for each arm and way to sample, in the order of the study.

    ``failed``: the reason for each failed cell, not among ``cells``: a failed seed of its arm, without figures.
    """
    grouped: dict[tuple[str, str, int], list[tuple[Cell, Point]]] = {}
    for cell in sorted(cells, key=lambda c: (list(study.arms).index(c["arm"]), c["seed"])):
        for point in cell["points"]:
            key = (cell["arm"], json.dumps(point["sampling"], sort_keys=True), point["steps"])
            grouped.setdefault(key, []).append((cell, point))
    failed_by_arm = {arm: {seed: why for (a, seed), why in failed.items() if a == arm} for arm in study.arms}
    return [_row(members, confidence, failed_by_arm[arm]) for (arm, _, _), members in grouped.items()]


def _row(members: list[tuple[Cell, Point]], confidence: float, failed: dict[int, str]) -> Row:
    cell, point = members[0]
    values: dict[str, dict[int, float | None]] = {name: {} for name in METRICS}
    intervals: dict[str, list[tuple[float, float]]] = {name: [] for name in METRICS}
    for cell, point in members:
        training = cell["training"]
        of_model = {
            "seconds": training.get("seconds"),
            "parameters": training.get("trained_parameters", training.get("parameters")),
            "bits_per_dim": cell.get("bits_per_dim"),
        }
        for name in METRICS:
            values[name][cell["seed"]] = of_model[name] if name in of_model else value_of(point, name)
            low, high = (value_of(point, f"{name}_{end}") for end in ("low", "high"))
            if low is not None and high is not None:
                intervals[name].append((low, high))
    names = [name for name in METRICS if any(v is not None for v in values[name].values())]
    for name in names:
        values[name] |= dict.fromkeys(failed)
    figures = {name: over_seeds(values[name], intervals[name], confidence, METRICS[name].bounds) for name in names}
    failures = {cell["seed"]: why for cell, point in members if (why := _failed(point, cell["floor"]))} | failed
    strips = {cell["seed"]: Path(cell["folder"]) / point["strip"] for cell, point in members if point.get("strip")}
    return Row(cell["arm"], point["sampling"], point["steps"], cell["timesteps"], figures, failures, strips)


def _failed(point: Point, floor: dict[str, float]) -> str:
    if not floor:  # of a language model
        return ""
    if point.get("frechet") is None:
        return "diverged: pictures that are not numbers"
    return failed({key: value for key, value in point.items() if value is not None}, floor)


def best(rows: Sequence[Row], measure: str) -> Row | None:
    """The row with the best mean, of equal ones the cheapest; ``None`` where no row has a mean."""
    measured = [row for row in rows if row.mean(measure) is not None]
    sign = METRICS[measure].better
    return min(measured, key=lambda row: (-sign * (row.mean(measure) or 0.0), *cost(row)), default=None)


def cost(row: Row) -> tuple[float, float]:
    """The cost of a picture: network evaluations, then milliseconds."""
    return row.mean("network_evaluations") or row.steps, row.mean("milliseconds_per_image") or 0.0


def as_good(row: Row, reference: Row, measure: str) -> bool:
    """Whether the mean of ``row`` is no worse than the worse end of the interval of ``reference``."""
    mean, figure = row.mean(measure), reference.figures.get(measure)
    if mean is None or figure is None or figure.mean is None:
        return False
    if METRICS[measure].better < 0:
        return mean <= max(figure.mean, figure.high if figure.high is not None else figure.mean)
    return mean >= min(figure.mean, figure.low if figure.low is not None else figure.mean)


def best_of_each(study: Study, rows: Sequence[Row], measure: str) -> dict[str, Row]:
    """The best row of each arm, in the order of the study; the first row of an arm where no row has a mean."""
    best_rows: dict[str, Row] = {}
    for arm in study.arms:
        arm_rows = [row for row in rows if row.arm == arm]
        if arm_rows:
            best_rows[arm] = best(arm_rows, measure) or arm_rows[0]
    return best_rows


def cheapest_as_good(rows: Sequence[Row], reference: Row, measure: str) -> Row:
    """The row with the least cost a picture among those of ``rows`` that are as good as ``reference``."""
    return min((row for row in rows if as_good(row, reference, measure)), key=cost, default=reference)
