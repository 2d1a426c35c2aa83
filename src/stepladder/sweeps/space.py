"""The space of a sweep: the values of each swept parameter, checked against the types and bounds of the parameters."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from stepladder.errors import UserError
from stepladder.params import Params, Sweep, flatten
from stepladder.values import Value, Values

Point = Values
"""A value for each swept key."""

TIMESTEPS, SAMPLING_STEPS = "timesteps", "sampling_steps"
KINDS = "a list of values, {uniform: [low, high]} (with step: 4, say) or {log: [low, high]}"


@dataclass(frozen=True)
class Dimension:
    """One swept key: its ``choices``, or every number from ``low`` to ``high``, evenly or evenly in the logarithm.

    ``step``: between the values of an even range; 0: none. ``count``: how many values a grid takes from the range.
    """

    key: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    step: float = 0.0
    count: int = 0

    def at(self, share: float) -> Value:
        """The value at ``share``, between 0 and 1, of the range or the choices."""
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        if self.step:
            steps = int((self.high - self.low) / self.step + 1e-9)
            value = self.low + self.step * min(int(share * (steps + 1)), steps)
        elif self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        value = round(value) if self.integer else float(f"{value:.4g}")
        return min(max(value, self.low), self.high) if not self.integer else int(value)

    def values(self) -> list[Value]:
        """All values that a grid takes."""
        if self.choices:
            return list(self.choices)
        return list(dict.fromkeys(self.at(i / max(self.count - 1, 1)) for i in range(self.count)))


def grid(space: Sequence[Dimension]) -> list[Point]:
    """Every combination, the first key varying slowest."""
    keys = [dimension.key for dimension in space]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(d.values() for d in space))]


def random(space: Sequence[Dimension], trials: int, seed: int) -> list[Point]:
    """``trials`` points; the k-th is a function of (seed, k), so that more trials keep the earlier points."""
    uniform_numbers = [np.random.default_rng([seed, k]).random(len(space)) for k in range(trials)]
    return [{d.key: d.at(share) for d, share in zip(space, shares.tolist(), strict=True)} for shares in uniform_numbers]


def identity(point: Point) -> str:
    """A short hash of the point's content."""
    return hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:8]


def label(point: Mapping[str, Value]) -> str:
    """``learning_rate=0.001, T=50``: the last part of each key is enough for people."""
    short = {TIMESTEPS: "T", SAMPLING_STEPS: "S"}
    return ", ".join(f"{short.get(key, key.rpartition('.')[2])}={value}" for key, value in point.items())


def read(written: Mapping[str, Value], sections: Sequence[str], method: str, origin: str) -> list[Dimension]:
    """The dimensions of ``space`` as ``written`` in the file; ``sections``: those that the family's result depends on.

    Raises:
        UserError: a key is not a parameter or belongs to another family, or a value is not allowed; it says what is.
    """
    if not written:
        raise UserError(f"{origin}: space names no key; give at least one, each with {KINDS}.")
    return [_dimension(key, value_range, sections, method, origin) for key, value_range in written.items()]


def _dimension(key: str, value_range: Any, sections: Sequence[str], method: str, origin: str) -> Dimension:
    field, where = _field(key, sections, origin), f"{origin}: space: {key}"
    if isinstance(value_range, list) and value_range:
        return Dimension(key, choices=tuple(_checked(value, field, where) for value in value_range))
    kind = next((k for k in ("uniform", "log") if isinstance(value_range, dict) and k in value_range), None)
    interval: Any = value_range[kind] if kind else None
    numbers = isinstance(interval, list) and len(interval) == 2 and all(type(end) in (int, float) for end in interval)
    if not kind or not numbers or set(value_range) - {kind, "count", "step"} or not interval[0] < interval[1]:
        raise UserError(f"{where}={value_range!r}; give {KINDS}, the lower end first.")
    step = value_range.get("step", 0)
    if type(step) not in (int, float) or step < 0 or (step and kind == "log") or step > interval[1] - interval[0]:
        raise UserError(f"{where}={value_range!r}: a step is of a uniform range, above 0 and at most its width.")
    if field.annotation not in (int, float):
        raise UserError(f"{where} is not a number; give a list of values.")
    low, high = (_checked(end, field, where) for end in interval)
    if kind == "log" and low <= 0:
        raise UserError(f"{where}: a logarithmic range starts above 0 (given: {low}).")
    count = value_range.get("count", 0)
    if type(count) is not int or count < 0 or (method == "grid" and count < 2):
        raise UserError(
            f"{where}={value_range!r}: a grid needs to know how many values; add count: 2 or more, or give a list."
        )
    return Dimension(
        key, low=low, high=high, log=kind == "log", integer=field.annotation is int, step=step, count=count
    )


def _field(key: str, sections: Sequence[str], origin: str) -> FieldInfo:
    if key in (TIMESTEPS, SAMPLING_STEPS):
        if "diffusion" not in sections:
            raise UserError(f"{origin}: space: {key} is of diffusion models; leave it out.")
        (item,) = {arg for arg in Sweep.model_fields[key].annotation.__args__ if arg is not ...}  # type: ignore[union-attr]
        return FieldInfo.from_annotation(item)
    if key == "seed":
        raise UserError(f"{origin}: space: seed is not swept; list seeds, over which means and intervals are taken.")
    kind: Any = Params
    field = None
    for part in key.split("."):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields):
            field = None
            break
        field = kind.model_fields[part]
        kind = field.annotation
    if field is None or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        keys = [leaf for leaf in flatten(Params()) if leaf.split(".")[0] in sections]
        close = difflib.get_close_matches(key, [*keys, TIMESTEPS, SAMPLING_STEPS], n=1, cutoff=0.5)
        raise UserError(
            f"{origin}: space: {key} is not a parameter"
            + (f"; did you mean {close[0]}?" if close else "; `stepladder params` lists them all.")
        )
    if key.split(".")[0] not in sections:
        raise UserError(
            f"{origin}: space: {key} does not change this family; keys of {', '.join(s for s in sections if s != 'seed')} do."
        )
    return field


def _checked(value: Any, field: FieldInfo, where: str) -> Any:
    try:
        kind: Any = Annotated[field.annotation, Field(), *field.metadata]
        checked: Any = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]} (given: {value!r}).") from None
    return list(checked) if isinstance(checked, tuple) else checked
