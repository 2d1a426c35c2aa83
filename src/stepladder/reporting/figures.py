"""The figures of the comparison, each drawn once for light and once for dark ground.

``reports/figures/NAME.png`` is for light ground, ``reports/figures/dark/NAME.png`` for dark. The same input gives the same
bytes (no date, no version in the files).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.font_manager
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from stepladder.metrics.pictures import SUPPORT
from stepladder.params import Params
from stepladder.reporting import attention_figures
from stepladder.reporting.palette import Style, styles
from stepladder.reporting.reading import curves, read_json, series
from stepladder.reporting.recommendation import Point

GROUNDS = {
    "": {"paper": "#fdfcf9", "ink": "#23221f", "quiet": "#6b6860", "line": "#dcd8cd"},
    "dark": {"paper": "#16171a", "ink": "#e6e4de", "quiet": "#a09d95", "line": "#34363b"},
}
SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans", "Arial Unicode MS")
DOTS_PER_INCH = 180

Comparison = dict[str, Any]
Draw = Callable[[], Figure]


def draw(comparison: Comparison, params: Params, models: Path, reports: Path) -> list[Path]:
    """Draw every figure that there is something to show for; returns the files for light ground."""
    return save(_figures(comparison, params, models, reports), reports / "figures")


def draw_cost(comparison: Comparison, params: Params, folder: Path) -> None:
    """Draw into ``folder`` what it took, which is history and no result: of a comparison with times, see ``history.compared``."""
    drawn, floor = _finite(comparison["sweep"], "frechet"), comparison["floor"].get("frechet")
    figure = partial(cost, drawn, comparison["training"], styles(params.sweep.timesteps), floor)
    save({"cost": figure} if drawn else {}, folder)


def save(figures: dict[str, Draw], folder: Path) -> list[Path]:
    """Draw ``figures``, by name, into ``folder`` and, for dark ground, ``folder/dark``; what else was there is removed.

    Returns:
        The files for light ground.
    """
    for ground, colours in GROUNDS.items():
        target = folder / ground
        target.mkdir(parents=True, exist_ok=True)
        for stale in target.glob("*.png"):
            stale.unlink()
        with plt.rc_context(_settings(colours)):
            for name, figure in figures.items():
                _save(figure(), target / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]


def save_one(figure: Draw, file: Path) -> None:
    """Draw ``figure`` into ``file``, for light ground."""
    with plt.rc_context(_settings(GROUNDS[""])):
        _save(figure(), file)


def _figures(comparison: Comparison, params: Params, models: Path, reports: Path) -> dict[str, Draw]:
    style, sweep, floor = styles(params.sweep.timesteps), comparison["sweep"], comparison["floor"]
    figures: dict[str, Draw] = {}
    if _finite(sweep, "frechet"):
        figures["quality"] = partial(quality, sweep, style, floor.get("frechet"), comparison["recommended"])
        if _finite(sweep, "kid"):
            figures["kid"] = partial(kid, sweep, style, floor.get("kid"))
        if _finite(sweep, "accuracy"):
            figures["accuracy"] = partial(accuracy, sweep, style)
        if _finite(sweep, "precision"):
            figures["support"] = partial(support, sweep, style, floor)
    if likelihood := comparison.get("likelihood"):
        figures["times"] = partial(times, likelihood, style)
    read = list(curves(params, models))
    if any(series(lines, f"{split}/loss") for _, _, lines in read for split in ("train", "validation")):
        figures["loss"] = partial(loss, read, style)
    if attention := read_json(reports / "transformer" / "attention.json"):
        for kind, found in attention["maps"].items():
            figures[f"attention-{kind}"] = partial(attention_figures.maps, found | {"kind": kind})
        figures["attention-entropy"] = partial(attention_figures.entropy, attention["entropy"])
        if attention["positions"]:
            figures["positions"] = partial(attention_figures.positions, attention["positions"])
    return figures


def quality(sweep: Sequence[Point], style: dict[int, Style], floor: float | None, recommended: Point | None) -> Figure:
    """Fréchet distance against S, a line for each T with its interval, the floor, the recommended point ringed."""
    figure, axes = plt.subplots(figsize=(9.2, 4.4))
    _against_steps(axes, sweep, style, "frechet")
    _distance_scale(axes, sweep, "frechet")
    _floor_line(axes, floor)
    if recommended:
        x, y = _beside(recommended, style), recommended["frechet"]
        axes.plot(x, y, "o", markersize=15, fillstyle="none", markeredgewidth=1.4, color=plt.rcParams["text.color"])
        axes.annotate(
            "the least bad" if recommended.get("failed") else "recommended",
            (x, y),
            textcoords="offset points",
            xytext=(10, 14),
            fontweight="bold",
            va="bottom",
        )
    axes.set_ylabel("Fréchet distance")
    _legend(figure, axes)
    return figure


def kid(sweep: Sequence[Point], style: dict[int, Style], floor: float | None) -> Figure:
    """Kernel inception distance, in thousandths, against S; linear around 0, where the unbiased estimate may be negative."""
    figure, axes = plt.subplots(figsize=(5.4, 3.7))
    sweep = [{k: v * 1e3 if k.startswith("kid") and v is not None else v for k, v in p.items()} for p in sweep]
    _against_steps(axes, sweep, style, "kid")
    _distance_scale(axes, sweep, "kid")
    _floor_line(axes, None if floor is None else floor * 1e3)
    axes.set_ylabel("KID × 1000")
    _legend(figure, axes)
    return figure


def accuracy(sweep: Sequence[Point], style: dict[int, Style]) -> Figure:
    """Share of pictures that the feature network takes for the class wanted, against S."""
    figure, axes = plt.subplots(figsize=(5.4, 3.7))
    _against_steps(axes, sweep, style, "accuracy")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.05 else 1))
    axes.set_ylim(top=min(high, 1.01))
    axes.set_ylabel("accuracy of the wanted class")
    _legend(figure, axes)
    return figure


def support(sweep: Sequence[Point], style: dict[int, Style], floor: dict[str, float]) -> Figure:
    """Precision and recall, density and coverage against S, a line for each T, real pictures' own as the dashed line."""
    figure, grid = plt.subplots(2, 2, figsize=(9.2, 6), sharex=True)
    for axes, key in zip(grid.flat, SUPPORT, strict=True):
        _against_steps(axes, sweep, style, key)
        _floor_line(axes, floor.get(key), "")
        real = "" if floor.get(key) is None else f" (of real pictures {floor[key]:.3g})"
        axes.set_title(key + real, loc="left")
    for axes in grid[0]:
        axes.set_xlabel("")
    _legend(figure, grid[0][0])
    return figure


def times(likelihood: Sequence[dict[str, Any]], style: dict[int, Style]) -> Figure:
    """By time, from the data at 0 to noise at 1: the loss, the bits/dim summed up to there, and the learned variance."""
    learned = [row for row in likelihood if row["by_time"].get("fraction")]
    figure, panels = plt.subplots(1, 3 if learned else 2, figsize=(9.2, 3.5), squeeze=False)
    left, middle, *right = panels[0]
    for row in likelihood:
        look = _line(style[row["timesteps"]]) | {"markersize": 3.5}
        by_time = row["by_time"]
        left.plot(by_time["times"], by_time["error"], label=f"T={row['timesteps']}", markevery=3, **look)
        few = max(1, len(row["times"]) // 10)
        middle.plot(row["times"], np.cumsum(row["terms"]), markevery=few, **look)
        if right and by_time.get("fraction"):
            right[0].plot(by_time["times"], by_time["fraction"], markevery=3, **look)
    if min(value for row in likelihood for value in row["by_time"]["error"]) > 0:
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter(FuncFormatter(_plain))
        left.yaxis.set_minor_locator(NullLocator())
    left.set_title("squared error of the prediction", loc="left")
    middle.set_title("bits/dim, summed from t = 0", loc="left")
    middle.set_xscale("log")
    middle.xaxis.set_major_formatter(FuncFormatter(_plain))
    middle.set_ylim(bottom=0)
    for axes in right:
        axes.set_title("learned variance, 0 least, 1 most", loc="left")
    for axes in panels[0]:
        axes.set_xlabel("time t / T")
    _legend(figure, left)
    return figure


def cost(
    sweep: Sequence[Point], training: Sequence[dict[str, Any]], style: dict[int, Style], floor: float | None
) -> Figure:
    """Fréchet distance against sampling time, and seconds of training for each T."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.7), width_ratios=(1.7, 1))
    timed = [p for p in _finite(sweep, "frechet") if p.get("milliseconds_per_image")]
    for t, points in _by_timesteps(timed).items():
        points = sorted(points, key=lambda p: p["milliseconds_per_image"])
        left.plot(
            [p["milliseconds_per_image"] for p in points],
            [p["frechet"] for p in points],
            label=f"T={t}",
            **_line(style[t]),
        )
    left.set_xscale("log")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(FuncFormatter(_plain))
    left.xaxis.set_minor_locator(NullLocator())
    _distance_scale(left, sweep, "frechet")
    _floor_line(left, floor)
    left.set_xlabel("milliseconds a picture")
    left.set_ylabel("Fréchet distance")

    trained = [row for row in training if row.get("seconds") is not None]
    rows = range(len(trained))
    seconds = [row["seconds"] for row in trained]
    bars = right.barh(rows, seconds, color=[style[row["timesteps"]].colour for row in trained], height=0.6)
    right.bar_label(bars, labels=[f" {s:.0f}" for s in seconds], color=plt.rcParams["text.color"])
    right.set_yticks(rows, [f"T={row['timesteps']}" for row in trained])
    right.invert_yaxis()
    right.grid(False)
    right.spines["bottom"].set_visible(False)
    right.tick_params(axis="x", bottom=False, labelbottom=False)
    right.tick_params(axis="y", left=False)
    right.margins(x=0.15)
    right.set_xlabel("seconds of training")
    _legend(figure, left)
    return figure


def loss(read: Sequence[tuple[int | None, str, list[dict[str, Any]]]], style: dict[int, Style]) -> Figure:
    """Loss by step: thin while training, thick with markers on held-out data; a panel for each family of models."""
    panels: dict[str, list[tuple[int | None, list[dict[str, Any]]]]] = {}
    for timesteps, folder, lines in read:
        panels.setdefault(folder.split("/")[0], []).append((timesteps, lines))
    figure, grid = plt.subplots(1, len(panels), figsize=(9.2, 3.5), squeeze=False)
    for axes, (family, models) in zip(grid[0], panels.items(), strict=True):
        for timesteps, lines in models:
            look = style[timesteps] if timesteps in style else Style(plt.rcParams["text.color"], "o", "-")
            train, held_out = series(lines, "train/loss"), series(lines, "validation/loss")
            axes.plot(*_columns(train), color=look.colour, linewidth=0.8, alpha=0.45)
            axes.plot(
                *_columns(held_out), label=f"T={timesteps}" if timesteps else None, **_line(look) | {"markersize": 4}
            )
        values = [
            v for _, lines in models for split in ("train", "validation") for _, v in series(lines, f"{split}/loss")
        ]
        if min(values) > 0 and max(values) > 8 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_title(family, loc="left")
        axes.set_xlabel("step")
    grid[0][0].set_ylabel("loss")
    if any(style.get(t or 0) for t, _, _ in read):
        _legend(figure, grid[0][0])
    return figure


def _against_steps(axes: Axes, sweep: Sequence[Point], style: dict[int, Style], key: str) -> None:
    """One line a T with its intervals; lines stand a little beside one another, so that no interval hides another."""
    for t, points in _by_timesteps(_finite(sweep, key)).items():
        x = [_beside(p, style) for p in points]
        low, high = (_ends(points, key, end) for end in ("low", "high"))
        axes.vlines(x, low, high, color=style[t].colour, linewidth=4, alpha=0.35)
        axes.plot(x, [p[key] for p in points], label=f"T={t}", **_line(style[t]))
    steps = sorted({p["sampling_steps"] for p in sweep})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_major_formatter(FixedFormatter(_spaced(steps)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("sampling steps S")


def _beside(point: Point, style: dict[int, Style]) -> float:
    place = list(style).index(point["timesteps"]) - (len(style) - 1) / 2
    return float(point["sampling_steps"] * math.exp(0.16 / max(4, len(style)) * place))


def _finite(sweep: Sequence[Point], key: str) -> list[Point]:
    return [p for p in sweep if p.get(key) is not None and math.isfinite(p[key])]


def _ends(points: Sequence[Point], key: str, end: str) -> list[float]:
    """Ends of the intervals; the value itself where there is no interval."""
    given = ((p.get(f"{key}_{end}"), p[key]) for p in points)
    return [float(value if bound is None else bound) for bound, value in given]


def _spaced(steps: Sequence[int]) -> list[str]:
    """Labels of ticks on a log scale, leaving out those that would touch the one before."""
    labels, last = [], 0.0
    for step in steps:
        free = step >= 1.25 * last
        labels.append(str(step) if free else "")
        last = step if free else last
    return labels


def _distance_scale(axes: Axes, sweep: Sequence[Point], key: str) -> None:
    """Log where all is positive and spans much; linear around 0 and log beyond where some is not positive."""
    points = _finite(sweep, key)
    values, lows = [float(p[key]) for p in points], _ends(points, key, "low")
    if max(values) <= 8 * max(min(values), 0):
        return
    if min(lows) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 300 * min(values) else (1,)))
    else:
        linear = float(np.quantile(np.abs(values), 0.25)) or float(np.abs(values).max())
        axes.set_yscale("symlog", linthresh=linear, linscale=0.7)
        axes.set_ylim(bottom=1.4 * min(lows))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(NullLocator())


def _floor_line(axes: Axes, floor: float | None, name: str = "floor") -> None:
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


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=6, frameon=False, handlelength=2.2)


def _by_timesteps(points: Sequence[Point]) -> dict[int, list[Point]]:
    grouped: dict[int, list[Point]] = {}
    for point in points:
        grouped.setdefault(point["timesteps"], []).append(point)
    return grouped


def _line(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour, "marker": style.marker, "linestyle": style.dash, "linewidth": 1.7, "markersize": 5.5,
        "markeredgecolor": plt.rcParams["figure.facecolor"], "markeredgewidth": 0.8,
    }  # fmt: skip


def _columns(pairs: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _plain(value: float, _: int) -> str:
    return f"{value:,.10g}"


def _settings(colours: dict[str, str]) -> Any:
    known = set(matplotlib.font_manager.get_font_names())
    return dict(matplotlib.rcParamsDefault) | {
        "backend": "Agg",
        "font.family": ["DejaVu Sans", *(name for name in SCRIPTS if name in known)],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": colours["line"],
        "axes.facecolor": colours["paper"],
        "axes.labelcolor": colours["quiet"],
        "axes.titlecolor": colours["ink"],
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": colours["line"],
        "grid.linewidth": 0.6,
        "xtick.color": colours["quiet"],
        "ytick.color": colours["quiet"],
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "figure.facecolor": colours["paper"],
        "figure.constrained_layout.use": True,
        "savefig.facecolor": colours["paper"],
        "text.color": colours["ink"],
        "text.parse_math": False,
    }


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)
