"""Figures of a language model's attention: maps of a text by layer and head, entropy by depth, position encodings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from stepladder.reporting.palette import MARKERS, OKABE_ITO

NAMES = {
    "encoder": "encoder's self-attention",
    "decoder": "decoder's self-attention",
    "cross": "attention of the decoder to the encoder",
}
FIRST = ("cross", "decoder", "encoder")  # the first of these that the model has is plotted where one kind is wanted
SHOWN_TOKENS = 60
CELL = 0.2  # inches a token
WIDEST = 14.0


def maps(attention_map: Mapping[str, Any], layer: int | None = None, head: int | None = None) -> Figure:
    """One map for each layer (rows) and head (columns), or for one ``layer`` or ``head`` alone, counted from 1.

    Args:
        attention_map: ``rows``, ``columns``, ``weights`` ``[layer][head][row][column]``, and ``kind``.
    """
    weights = np.asarray(attention_map["weights"], dtype=float)[..., :SHOWN_TOKENS, :SHOWN_TOKENS]
    rows, columns = list(attention_map["rows"])[:SHOWN_TOKENS], list(attention_map["columns"])[:SHOWN_TOKENS]
    layers = range(len(weights)) if layer is None else [layer - 1]
    heads = range(weights.shape[1]) if head is None else [head - 1]
    labels = CELL * 0.45 * max(map(len, rows))
    width, height = CELL * len(columns) + 0.25, CELL * len(rows) + 0.35
    scale = min(1.0, WIDEST / (width * len(heads) + labels))
    figure, axes = plt.subplots(
        len(layers),
        len(heads),
        figsize=(
            max(3.6, scale * width * len(heads) + labels + 0.4),
            scale * height * len(layers) + CELL * 0.5 * max(map(len, columns)) + 0.9,
        ),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    size = max(4.5, 9 * scale)
    for i, layer_index in enumerate(layers):
        for j, head_index in enumerate(heads):
            _heat(axes[i][j], weights[layer_index, head_index], 0.0, 1.0)
            axes[i][j].set_title(f"layer {layer_index + 1}, head {head_index + 1}", fontsize=size)
    for panel in axes[-1]:
        panel.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
    for panel in axes[:, 0]:
        panel.set_yticks(range(len(rows)), rows, fontsize=size)
    kind = attention_map.get("kind", "")
    figure.supxlabel("token read", fontsize=size)
    figure.supylabel("token reading" if kind == "encoder" else "token being written", fontsize=size)
    if kind in NAMES:
        figure.suptitle(NAMES[kind][0].upper() + NAMES[kind][1:], fontsize=size + 1.5)
    return figure


def entropy(entropies: Mapping[str, list[list[float]]]) -> Figure:
    """Entropy of each head (points) and their mean (line) against the layer, for each kind of attention."""
    figure, axes = plt.subplots(figsize=(6.2, 3.2))
    depth = 1
    for colour, marker, kind in zip(OKABE_ITO, MARKERS, (k for k in NAMES if k in entropies), strict=False):
        values = np.asarray(entropies[kind], dtype=float)
        depth = max(depth, len(values))
        layers = np.arange(1, len(values) + 1)
        axes.plot(layers, values.mean(1), color=colour, label=NAMES[kind])
        axes.plot(np.repeat(layers, values.shape[1]), values.ravel(), marker, color=colour, markersize=4, alpha=0.6)
    axes.set_xticks(range(1, depth + 1))
    axes.set_xlim(0.8, depth + 0.2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("entropy of attention, nats")
    axes.legend(frameon=False, fontsize=8)
    return figure


def positions(encodings: list[list[float]]) -> Figure:
    """Encodings of the first positions: a row for each position, a column for each dimension."""
    values = np.asarray(encodings, dtype=float)
    figure, axes = plt.subplots(figsize=(6.2, 3.6))
    largest = float(np.abs(values).max())
    background = plt.rcParams["axes.facecolor"]
    colours = LinearSegmentedColormap.from_list("both", [OKABE_ITO[4], background, OKABE_ITO[0]])
    image = axes.imshow(values, aspect="auto", cmap=colours, vmin=-largest, vmax=largest, interpolation="nearest")
    axes.grid(False)
    axes.set_xlabel("dimension")
    axes.set_ylabel("position")
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    return figure


def _heat(axes: Axes, weights: Any, low: float, high: float) -> None:
    background = plt.rcParams["axes.facecolor"]
    shades = LinearSegmentedColormap.from_list("shades", [background, OKABE_ITO[0]])
    axes.imshow(weights, cmap=shades, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.set_xticks(np.arange(weights.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(weights.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)
