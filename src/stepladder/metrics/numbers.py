"""Figures as people read them: one number of decimals a column, so that points stand under each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from stepladder.metrics.metric import Metric

ABSENT = "–"


def value_of(figures: Mapping[str, object], name: str) -> float | None:
    """The figure of that ``name``, where it was measured."""
    found = figures.get(name)
    return found if isinstance(found, int | float) else None


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """Decimals that show the smallest of ``values`` (not 0) with ``digits`` significant digits; at most 6."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    return min(6, max(0, digits - 1 - math.floor(math.log10(min(sizes))))) if sizes else digits


def fixed(value: float | None, places: int) -> str:
    """``value`` with so many decimals, a minus sign that is one, and a dash for what is absent."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.{places}f}".replace("-", "−")


def short(value: float | None, digits: int = 3) -> str:
    """``value`` with so many significant digits and no exponent."""
    return ABSENT if value is None else fixed(value, decimals([value], digits))


def percent(value: float | None) -> str:
    """A share as ``97.4%``."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"


def duration(seconds: float | None) -> str:
    """``38 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds is None:
        return ABSENT
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def of_metric(metric: Metric, value: float | None) -> str:
    """The ``value`` of a figure."""
    if value is None:
        return ABSENT
    if metric.share:
        return percent(value)
    if metric.label == "training time":
        return duration(value)
    return fixed(value, 0) if metric.label == "parameters" else short(value)
