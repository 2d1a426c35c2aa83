"""What the figures of a sweep share: its lines and intervals, its scales, the floor and the legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from stepladder.metrics.numbers import value_of
from stepladder.metrics.pictures import Point
from stepladder.reporting.palette import Style


def against_steps(axes: Axes, sweep: Sequence[Point], style: dict[int, Style], key: str) -> None:
    """One line for each T with its intervals; the lines are shifted a little, so that no interval hides another."""
    for t, points in by_timesteps(finite(sweep, key)).items():
        x = [shifted_steps(p, style) for p in points]
        low, high = (_interval_ends(points, key, end) for end in ("low", "high"))
        axes.vlines(x, low, high, color=style[t].colour, linewidth=4, alpha=0.35)
        axes.plot(x, _values(points, key), label=f"T={t}", **line(style[t]))
    steps = sorted({p["sampling_steps"] for p in sweep})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_major_formatter(FixedFormatter(_tick_labels(steps)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sampling steps S")


def shifted_steps(point: Point, style: dict[int, Style]) -> float:
    """S of ``point``, shifted a little according to its T, so that the lines of several T do not cover each other."""
    place = list(style).index(point["timesteps"]) - (len(style) - 1) / 2
    return float(point["sampling_steps"] * math.exp(0.16 / max(4, len(style)) * place))


def finite(sweep: Sequence[Point], key: str) -> list[Point]:
    """The points that have a finite ``key``."""
    return [p for p in sweep if (value := value_of(p, key)) is not None and math.isfinite(value)]


def _interval_ends(points: Sequence[Point], key: str, end: str) -> list[float]:
    """Ends of the intervals; the value itself where there is no interval."""
    bounds = ((value_of(p, f"{key}_{end}"), value) for p, value in zip(points, _values(points, key), strict=True))
    return [float(value if bound is None else bound) for bound, value in bounds]


def _values(points: Sequence[Point], key: str) -> list[float]:
    return [float(value) for p in points if (value := value_of(p, key)) is not None]


def _tick_labels(steps: Sequence[int]) -> list[str]:
    """Labels of ticks on a log scale, leaving out those that would touch the one before."""
    labels, last = [], 0.0
    for step in steps:
        free = step >= 1.25 * last
        labels.append(str(step) if free else "")
        last = step if free else last
    return labels


def distance_scale(axes: Axes, sweep: Sequence[Point], key: str) -> None:
    """Log where all values are positive and far apart; linear around 0 and log beyond where some are not positive."""
    points = finite(sweep, key)
    values, lows = _values(points, key), _interval_ends(points, key, "low")
    if max(values) <= 8 * max(min(values), 0):
        return
    if min(lows) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 300 * min(values) else (1,)))
    else:
        linear = float(np.quantile(np.abs(values), 0.25)) or float(np.abs(values).max())
        axes.set_yscale("symlog", linthresh=linear, linscale=0.7)
        axes.set_ylim(bottom=1.4 * min(lows))
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_locator(NullLocator())


def floor_line(axes: Axes, floor: float | None, name: str = "floor") -> None:
    """A dashed line at ``floor``, with its value under ``name`` where that is not empty; nothing where there is no floor."""
    if floor is None:
        return
    quiet = plt.rcParams["axes.labelcolor"]
    axes.axhline(floor, color=quiet, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    if not name:
        return
    axes.annotate(
        f"{name} {floor:.3g}", (1, floor), xycoords=("axes fraction", "data"), textcoords="offset points",
        xytext=(-2, -3), ha="right", va="top", color=quiet, fontsize=8,
    )  # fmt: skip


def legend(figure: Figure, axes: Axes) -> None:
    """The labels of ``axes`` above the figure, where there are any."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=6, frameon=False, handlelength=2.2)


def by_timesteps(points: Sequence[Point]) -> dict[int, list[Point]]:
    """The points of each T, in their order."""
    grouped: dict[int, list[Point]] = {}
    for point in points:
        grouped.setdefault(point["timesteps"], []).append(point)
    return grouped


class Look(TypedDict):
    """How a line looks, as options of ``plot``."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[int, ...]]
    linewidth: float
    markersize: float
    markeredgecolor: str
    markeredgewidth: float


def line(style: Style) -> Look:
    """The options of ``plot`` for the lines of one T."""
    return {
        "color": style.colour, "marker": style.marker, "linestyle": style.dash, "linewidth": 1.7, "markersize": 5.5,
        "markeredgecolor": plt.rcParams["figure.facecolor"], "markeredgewidth": 0.8,
    }  # fmt: skip


def columns(pairs: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    """First and second values of ``pairs``, such as steps and losses."""
    return [x for x, _ in pairs], [y for _, y in pairs]


def plain(value: float, _: int) -> str:
    """A tick's number as it is written by hand, for ``FuncFormatter``."""
    return f"{value:,.10g}"
