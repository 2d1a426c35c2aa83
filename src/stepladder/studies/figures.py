"""The figures of a study: quality against sampling steps, against time, by seed, and one measure against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from stepladder.metrics.every import METRICS
from stepladder.reporting.figure_files import save
from stepladder.reporting.palette import DASHES, MARKERS, OKABE_ITO, Style
from stepladder.studies.results import Row, best_of_each
from stepladder.studies.spec import Study

PANELS_A_ROW = 3


def plot_all(study: Study, rows: Sequence[Row], floor: dict[str, float], folder: Path) -> list[str]:
    """Plot every figure that there is data for; returns the names of the files in ``folder``."""
    measure = study.measures[0]
    valid = [row for row in rows if row.mean(measure) is not None]
    best_rows = list(best_of_each(study, valid, measure).values())
    figures: dict[str, Callable[[], Figure]] = {}
    stepwise = [row for row in valid if row.sampling and not METRICS[measure].of_model]
    if len({row.steps for row in stepwise}) > 1:
        figures["steps"] = partial(against_steps, stepwise, measure, floor.get(measure))
    if best_rows:
        figures["seeds"] = partial(by_seed, best_rows, study.measures, floor)
    if len(valid) > 1 and not METRICS[measure].of_model and any(row.mean("milliseconds_per_image") for row in valid):
        figures["time"] = partial(against_time, valid, measure, floor.get(measure))
    if len(study.plane) == 2 and any(row.mean(study.plane[0]) is not None for row in rows):
        figures["plane"] = partial(plane, rows, study.plane)
    return [file.stem for file in save(figures, folder)]


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style for each name, in their order; after six colours the dash changes."""
    distinct = list(dict.fromkeys(names))
    return {name: Style(OKABE_ITO[i % 6], MARKERS[i % 6], DASHES[i // 6 % 4]) for i, name in enumerate(distinct)}


def against_steps(rows: Sequence[Row], measure: str, floor: float | None) -> Figure:
    """``measure`` against S: one panel where each arm has one way to sample, else a panel for each arm."""
    several_ways = len({row.way for row in rows if row.sampling}) > 1
    panels = list(dict.fromkeys(row.arm for row in rows)) if several_ways else [""]
    columns = min(len(panels), PANELS_A_ROW)
    lines = math.ceil(len(panels) / columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(9.2, 3.2 * lines if several_ways else 4.2), sharey=True, squeeze=False
    )
    style = styles([row.way if several_ways else row.arm for row in rows])
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        panel_rows = [row for row in rows if row.arm == panels[place]] if several_ways else list(rows)
        for name in dict.fromkeys(row.way if several_ways else row.arm for row in panel_rows):
            line = sorted((r for r in panel_rows if (r.way if several_ways else r.arm) == name), key=lambda r: r.steps)
            _line(axes, [r.steps for r in line], line, measure, style[name], name)
        _steps_axis(axes, sorted({row.steps for row in panel_rows}))
        _scale(axes, rows, measure)
        _floor(axes, floor)
        axes.set_title(panels[place])
        if place % columns == 0:
            axes.set_ylabel(METRICS[measure].label)
    _legend(figure, list(grid.flat))
    return figure


def against_time(rows: Sequence[Row], measure: str, floor: float | None) -> Figure:
    """``measure`` against the milliseconds that a picture takes, a line for each arm and way."""
    figure, axes = plt.subplots(figsize=(9.2, 4.2))
    style = styles([row.arm for row in rows])
    labelled: set[str] = set()
    for arm, way in dict.fromkeys((row.arm, row.way) for row in rows):
        line = [r for r in rows if (r.arm, r.way) == (arm, way) and r.mean("milliseconds_per_image")]
        line.sort(key=lambda r: r.steps)
        _line(
            axes,
            [r.mean("milliseconds_per_image") or 0.0 for r in line],
            line,
            measure,
            style[arm],
            "" if arm in labelled else arm,
        )
        labelled.add(arm)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("milliseconds a picture")
    axes.set_ylabel(METRICS[measure].label)
    _scale(axes, rows, measure)
    _floor(axes, floor)
    _legend(figure, [axes])
    return figure


def by_seed(best_rows: Sequence[Row], measures: Sequence[str], floor: dict[str, float]) -> Figure:
    """A dot for each seed of each arm's best way to sample, the mean with its interval; a panel for each measure."""
    panels = [m for m in measures if any(row.mean(m) is not None for row in best_rows)][:PANELS_A_ROW]
    figure, grid = plt.subplots(1, len(panels), figsize=(9.2, 1.1 + 0.34 * len(best_rows)), sharey=True, squeeze=False)
    style = styles([row.arm for row in best_rows])
    for axes, measure in zip(grid.flat, panels, strict=True):
        for place, row in enumerate(best_rows):
            estimate = row.figures.get(measure)
            if estimate is None:
                continue
            values = [v for v in estimate.each.values() if v is not None]
            if estimate.low is not None:
                axes.hlines(place, estimate.low, estimate.high, color=style[row.arm].colour, linewidth=5, alpha=0.3)
            axes.plot(values, [place] * len(values), style[row.arm].marker, color=style[row.arm].colour, markersize=5,
                      markeredgecolor=plt.rcParams["figure.facecolor"], linestyle="none")  # fmt: skip
            if estimate.mean is not None:
                axes.plot(
                    [estimate.mean], [place], "|", color=plt.rcParams["text.color"], markersize=13, markeredgewidth=1.6
                )
        if measure in floor:
            axes.axvline(floor[measure], color=plt.rcParams["axes.labelcolor"], linewidth=1, linestyle=(0, (4, 3)))
        values = [v for row in best_rows if row.figures.get(measure) for v in row.figures[measure].each.values() if v]
        if values and min(values) > 0 and max(values) > 8 * min(values):
            axes.set_xscale("log")
            axes.set_xlim(left=0.6 * min(values))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(METRICS[measure].label)
        axes.set_yticks(range(len(best_rows)), [row.arm for row in best_rows])
        axes.set_ylim(len(best_rows) - 0.4, -0.6)
    return figure


def plane(rows: Sequence[Row], measures: Sequence[str]) -> Figure:
    """One measure against another: a line for each way to sample, a point for each of its S."""
    figure, axes = plt.subplots(figsize=(9.2, 5.2))
    x, y = measures
    measured = [row for row in rows if row.mean(x) is not None and row.mean(y) is not None]
    style = styles([row.way for row in measured])
    for way in dict.fromkeys(row.way for row in measured):
        line = [row for row in measured if row.way == way]
        marks: dict[str, Any] = {
            "color": style[way].colour,
            "marker": style[way].marker,
            "linestyle": style[way].dash,
            "markersize": 6,
        }
        axes.plot([r.mean(x) or 0.0 for r in line], [r.mean(y) or 0.0 for r in line], label=way, **marks)
    axes.set_xlabel(METRICS[x].label)
    axes.set_ylabel(METRICS[y].label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=7.5)
    return figure


def _line(axes: Axes, x: Sequence[float], line: Sequence[Row], measure: str, style: Style, label: str) -> None:
    figures = [row.figures[measure] for row in line]
    low = [f.mean if f.low is None else f.low for f in figures]
    high = [f.mean if f.high is None else f.high for f in figures]
    axes.vlines(x, low, high, color=style.colour, linewidth=4, alpha=0.3)  # type: ignore[arg-type]
    axes.plot(
        x, [f.mean for f in figures], color=style.colour, marker=style.marker, linestyle=style.dash, linewidth=1.6,  # type: ignore[arg-type]
        markersize=5, markeredgecolor=plt.rcParams["figure.facecolor"], label=label or None,
    )  # fmt: skip
    for place, f in zip(x, figures, strict=True):
        dots = [v for v in f.each.values() if v is not None]
        if len(dots) > 1:
            axes.plot([place] * len(dots), dots, ".", color=style.colour, markersize=2.5, alpha=0.7)


def _steps_axis(axes: Axes, steps: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(steps)))
    labels, last = [], 0.0
    for step in steps:
        free = step >= 1.5 * last
        labels.append(str(step) if free else "")
        last = step if free else last
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sampling steps S")


def _scale(axes: Axes, rows: Sequence[Row], measure: str) -> None:
    """Log scale where all means are positive and far apart."""
    means = [m for row in rows if (m := row.mean(measure)) is not None]
    lows = [row.figures[measure].low for row in rows if row.figures.get(measure)]
    if not means or max(means) <= 8 * max(min(means), 0.0):
        return
    smallest = min(m for m in means)
    axes.set_yscale("log")
    if any(low is not None and low <= 0 for low in lows):
        axes.set_ylim(bottom=0.6 * smallest)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(means) < 300 * smallest else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _floor(axes: Axes, floor: float | None) -> None:
    if floor is not None:
        axes.axhline(floor, color=plt.rcParams["axes.labelcolor"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper left", ncols=4, frameon=False, handlelength=2.2
        )
