"""Saves figures as files: each is plotted once for a light and once for a dark background.

``NAME.png`` is for a light background, ``dark/NAME.png`` for a dark one. The same input gives the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.font_manager
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

GROUNDS = {
    "": {"paper": "#fdfcf9", "ink": "#23221f", "quiet": "#6b6860", "line": "#dcd8cd"},
    "dark": {"paper": "#16171a", "ink": "#e6e4de", "quiet": "#a09d95", "line": "#34363b"},
}
SCRIPTS = ("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans", "Arial Unicode MS")
DOTS_PER_INCH = 180

Draw = Callable[[], Figure]


def save(figures: dict[str, Draw], folder: Path) -> list[Path]:
    """Plot ``figures``, by name, into ``folder`` and, for dark background, ``folder/dark``; removes older figures.

    Returns:
        The files for a light background.
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
    """Plot ``figure`` into ``file``, for a light background."""
    with plt.rc_context(_settings(GROUNDS[""])):
        _save(figure(), file)


def _settings(colours: dict[str, str]) -> Any:
    installed_fonts = set(matplotlib.font_manager.get_font_names())
    return dict(matplotlib.rcParamsDefault) | {
        "backend": "Agg",
        "font.family": ["DejaVu Sans", *(name for name in SCRIPTS if name in installed_fonts)],
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
