"""Plots the results of the sweep and of the trainings into ``reports/figures``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from stepladder.journal.record import Line
from stepladder.metrics.pictures import SUPPORT, Point
from stepladder.params import Params
from stepladder.reporting import attention_figures
from stepladder.reporting.figure_files import Draw, save
from stepladder.reporting.palette import Style, styles
from stepladder.reporting.reading import curves, read_json, series
from stepladder.reporting.rows import Comparison, Likelihood, Training
from stepladder.reporting.sweep_axes import (
    against_steps,
    by_timesteps,
    columns,
    distance_scale,
    finite,
    floor_line,
    legend,
    line,
    plain,
    shifted_steps,
)

KID: tuple[Literal["kid", "kid_low", "kid_high"], ...] = ("kid", "kid_low", "kid_high")


def plot_all(comparison: Comparison, params: Params, models: Path, reports: Path) -> list[Path]:
    """Plot every figure that there is data for; returns the files for a light background."""
    return save(_figures(comparison, params, models, reports), reports / "figures")


def plot_cost(comparison: Comparison, params: Params, folder: Path) -> None:
    """Plot into ``folder`` what the models cost. Times are history and no result: ``history.compared`` adds them."""
    points, floor = finite(comparison["sweep"], "frechet"), comparison["floor"].get("frechet")
    figure = partial(cost, points, comparison["training"], styles(params.sweep.timesteps), floor)
    save({"cost": figure} if points else {}, folder)


def _figures(comparison: Comparison, params: Params, models: Path, reports: Path) -> dict[str, Draw]:
    style, sweep, floor = styles(params.sweep.timesteps), comparison["sweep"], comparison["floor"]
    figures: dict[str, Draw] = {}
    if finite(sweep, "frechet"):
        figures["quality"] = partial(quality, sweep, style, floor.get("frechet"), comparison["recommended"])
        if finite(sweep, "kid"):
            figures["kid"] = partial(kid, sweep, style, floor.get("kid"))
        if finite(sweep, "accuracy"):
            figures["accuracy"] = partial(accuracy, sweep, style)
        if finite(sweep, "precision"):
            figures["support"] = partial(support, sweep, style, floor)
    if likelihood := comparison.get("likelihood"):
        figures["times"] = partial(times, likelihood, style)
    model_curves = list(curves(params, models))
    if any(series(lines, f"{split}/loss") for _, _, lines in model_curves for split in ("train", "validation")):
        figures["loss"] = partial(loss, model_curves, style)
    if attention := read_json(reports / "transformer" / "attention.json"):
        for kind, attention_map in attention["maps"].items():
            figures[f"attention-{kind}"] = partial(attention_figures.maps, attention_map | {"kind": kind})
        figures["attention-entropy"] = partial(attention_figures.entropy, attention["entropy"])
        if attention["positions"]:
            figures["positions"] = partial(attention_figures.positions, attention["positions"])
    return figures


def quality(sweep: Sequence[Point], style: dict[int, Style], floor: float | None, recommended: Point | None) -> Figure:
    """Fréchet distance against S, a line for each T with its interval; the floor; a ring at the recommended point."""
    figure, axes = plt.subplots(figsize=(9.2, 4.4))
    against_steps(axes, sweep, style, "frechet")
    distance_scale(axes, sweep, "frechet")
    floor_line(axes, floor)
    if recommended:
        x, y = shifted_steps(recommended, style), recommended["frechet"]
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
    legend(figure, axes)
    return figure


def kid(sweep: Sequence[Point], style: dict[int, Style], floor: float | None) -> Figure:
    """Kernel inception distance, in thousandths, against S; linear around 0, where the unbiased estimate may be negative."""
    figure, axes = plt.subplots(figsize=(5.4, 3.7))
    sweep = [_thousandths(point) for point in sweep]
    against_steps(axes, sweep, style, "kid")
    distance_scale(axes, sweep, "kid")
    floor_line(axes, None if floor is None else floor * 1e3)
    axes.set_ylabel("KID × 1000")
    legend(figure, axes)
    return figure


def _thousandths(point: Point) -> Point:
    scaled = point.copy()
    for key in KID:
        if (value := point.get(key)) is not None:
            scaled[key] = value * 1e3
    return scaled


def accuracy(sweep: Sequence[Point], style: dict[int, Style]) -> Figure:
    """Share of pictures that the feature network takes for the class wanted, against S."""
    figure, axes = plt.subplots(figsize=(5.4, 3.7))
    against_steps(axes, sweep, style, "accuracy")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.05 else 1))
    axes.set_ylim(top=min(high, 1.01))
    axes.set_ylabel("accuracy of the wanted class")
    legend(figure, axes)
    return figure


def support(sweep: Sequence[Point], style: dict[int, Style], floor: Mapping[str, float]) -> Figure:
    """Precision and recall, density and coverage against S, a line for each T; dashed, the values of real pictures."""
    figure, grid = plt.subplots(2, 2, figsize=(9.2, 6), sharex=True)
    for axes, key in zip(grid.flat, SUPPORT, strict=True):
        against_steps(axes, sweep, style, key)
        floor_line(axes, floor.get(key), "")
        real = "" if floor.get(key) is None else f" (of real pictures {floor[key]:.3g})"
        axes.set_title(key + real, loc="left")
    for axes in grid[0]:
        axes.set_xlabel("")
    legend(figure, grid[0][0])
    return figure


def times(likelihood: Sequence[Likelihood], style: dict[int, Style]) -> Figure:
    """Against time, from data at 0 to noise at 1: the loss, the bits/dim summed up to there, the learned variance."""
    learned = [row for row in likelihood if row["by_time"].get("fraction")]
    figure, panels = plt.subplots(1, 3 if learned else 2, figsize=(9.2, 3.5), squeeze=False)
    left, middle, *right = panels[0]
    for row in likelihood:
        line_options = line(style[row["timesteps"]]) | {"markersize": 3.5}
        by_time = row["by_time"]
        left.plot(by_time["times"], by_time["error"], label=f"T={row['timesteps']}", markevery=3, **line_options)
        few = max(1, len(row["times"]) // 10)
        middle.plot(row["times"], np.cumsum(row["terms"]), markevery=few, **line_options)
        if right and by_time.get("fraction"):
            right[0].plot(by_time["times"], by_time["fraction"], markevery=3, **line_options)
    if min(value for row in likelihood for value in row["by_time"]["error"]) > 0:
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter(FuncFormatter(plain))
        left.yaxis.set_minor_locator(NullLocator())
    left.set_title("squared error of the prediction", loc="left")
    middle.set_title("bits/dim, summed from t = 0", loc="left")
    middle.set_xscale("log")
    middle.xaxis.set_major_formatter(FuncFormatter(plain))
    middle.set_ylim(bottom=0)
    for axes in right:
        axes.set_title("learned variance, 0 least, 1 most", loc="left")
    for axes in panels[0]:
        axes.set_xlabel("time t / T")
    legend(figure, left)
    return figure


def cost(sweep: Sequence[Point], training: Sequence[Training], style: dict[int, Style], floor: float | None) -> Figure:
    """Fréchet distance against sampling time, and seconds of training for each T."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.7), width_ratios=(1.7, 1))
    timed = [p for p in finite(sweep, "frechet") if p.get("milliseconds_per_image")]
    for t, points in by_timesteps(timed).items():
        points = sorted(points, key=lambda p: p["milliseconds_per_image"])
        left.plot(
            [p["milliseconds_per_image"] for p in points],
            [p["frechet"] for p in points],
            label=f"T={t}",
            **line(style[t]),
        )
    left.set_xscale("log")
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.xaxis.set_major_formatter(FuncFormatter(plain))
    left.xaxis.set_minor_locator(NullLocator())
    distance_scale(left, sweep, "frechet")
    floor_line(left, floor)
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
    legend(figure, left)
    return figure


def loss(model_curves: Sequence[tuple[int | None, str, list[Line]]], style: dict[int, Style]) -> Figure:
    """Loss by step: thin while training, thick with markers on held-out data; a panel for each family of models."""
    panels: dict[str, list[tuple[int | None, list[Line]]]] = {}
    for timesteps, folder, lines in model_curves:
        panels.setdefault(folder.split("/")[0], []).append((timesteps, lines))
    figure, grid = plt.subplots(1, len(panels), figsize=(9.2, 3.5), squeeze=False)
    for axes, (family, models) in zip(grid[0], panels.items(), strict=True):
        for timesteps, lines in models:
            look = style[timesteps] if timesteps in style else Style(plt.rcParams["text.color"], "o", "-")
            train, held_out = series(lines, "train/loss"), series(lines, "validation/loss")
            axes.plot(*columns(train), color=look.colour, linewidth=0.8, alpha=0.45)
            axes.plot(
                *columns(held_out), label=f"T={timesteps}" if timesteps else None, **line(look) | {"markersize": 4}
            )
        values = [
            v for _, lines in models for split in ("train", "validation") for _, v in series(lines, f"{split}/loss")
        ]
        if min(values) > 0 and max(values) > 8 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(plain))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_title(family, loc="left")
        axes.set_xlabel("step")
    grid[0][0].set_ylabel("loss")
    if any(style.get(t or 0) for t, _, _ in model_curves):
        legend(figure, grid[0][0])
    return figure
