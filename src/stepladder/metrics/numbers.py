"""Figures as text: the same number of decimals in a column, so that the decimal points are aligned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from stepladder.metrics.metric import Metric

ABSENT = "–"


def value_of(figures: Mapping[str, object], name: str) -> float | None:
    """The figure of that ``name``, where it was measured."""
    value = figures.get(name)
    return value if isinstance(value, int | float) else None


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """Decimals that show the smallest of ``values`` (not 0) with ``digits`` significant digits; at most 6."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    return min(6, max(0, digits - 1 - math.floor(math.log10(min(sizes))))) if sizes else digits


def fixed(value: float | None, places: int) -> str:
    """``value`` with ``places`` decimals, a typographic minus sign, and a dash where it is absent."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.{places}f}".replace("-", "−")


def short(value: float | None, digits: int = 3) -> str:
    """``value`` with ``digits`` significant digits and no exponent."""
    return ABSENT if value is None else fixed(value, decimals([value], digits))


def percent(value: float | None) -> str:
    """A share as ``97.4%``."""
    return ABSENT if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"


def duration(seconds: float | None) -> str:
    """``38 s``, ``4 min 10 s``, ``2 h 5 min``."""
    if seconds is None:
        return ABSENT
    rounded = round(seconds)
    if rounded < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{rounded} s"
    hours, minutes, rest = rounded // 3600, rounded % 3600 // 60, rounded % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def of_metric(metric: Metric, value: float | None) -> str:
    """The ``value`` of a figure, as text."""
    if value is None:
        return ABSENT
    if metric.share:
        return percent(value)
    if metric.label == "training time":
        return duration(value)
    return fixed(value, 0) if metric.label == "parameters" else short(value)
