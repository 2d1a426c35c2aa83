"""The page's section on a language model's attention: one text by layer and head, entropy by depth, positions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stepladder.metrics.texts import AttentionMap
from stepladder.reporting.embedded import figure
from stepladder.reporting.markup import Markup, element, join
from stepladder.reporting.reading import read_json

FIRST = ("cross", "decoder", "encoder")  # which kind can be chosen by layer and head; the others are figures
EMBEDDED_WEIGHTS = 40_000
SHOWN_TOKENS = 60
CAPTIONS = {
    "encoder": "The encoder's self-attention: each row is a token, each column a token that it reads.",
    "decoder": "The decoder's self-attention: each row is the token being written, each column one read before it.",
    "cross": "The decoder's attention to the encoder: each row is the token being written, each column one of the source.",
}


def attention(reports: Path) -> Markup | None:
    """Maps of one held-out text, entropy by depth over several, encodings of positions; None where none were kept."""
    found = read_json(reports / "transformer" / "attention.json")
    if not found:
        return None
    first = next(kind for kind in FIRST if kind in found["maps"])
    heading = element("h3", "What it reads")
    others = [
        figure(reports, f"attention-{kind}", CAPTIONS[kind], f"{CAPTIONS[kind]} Layers from top to bottom, heads side by side.")
        for kind in found["maps"] if kind != first
    ]  # fmt: skip
    return join([
        heading, _chosen(found["maps"][first], CAPTIONS[first]), others,
        figure(reports, "attention-entropy", "Entropy of attention against the layer, a point for each head",
               "How many tokens a head looks at: 0 is one only, the logarithm of their number all alike. Mean over held-out texts."),
        figure(reports, "positions", "Encodings of positions by dimension", "What is added to the embeddings of the first positions."),
    ])  # fmt: skip


def _chosen(found: AttentionMap, caption: str) -> Markup:
    """One kind of attention as a table of shades, in which layer and head can be chosen."""
    weights = np.asarray(found["weights"], dtype=float)[..., :SHOWN_TOKENS, :SHOWN_TOKENS]
    columns, rows = (list(found[side])[:SHOWN_TOKENS] for side in ("columns", "rows"))
    layers, heads = weights.shape[:2]
    maps = {f"layer {i + 1}, mean of heads": weights[i].mean(axis=0) for i in range(layers)}
    shown = f"layer {layers}, mean of heads"
    if weights.size <= EMBEDDED_WEIGHTS:
        maps |= {f"layer {i + 1}, head {j + 1}": weights[i, j] for i in range(layers) for j in range(heads)}
    head = element("tr", element("td"), [element("th", element("span", token), scope="col") for token in columns])
    body = [
        element("tr", element("th", token, scope="row"), [
            element("td", style=f"--w:{w:.2f}", title=f"{token} reads {read}: {w:.2f}")
            for w, read in zip(row, columns, strict=True)
        ])
        for token, row in zip(rows, maps[shown], strict=True)
    ]  # fmt: skip
    options = [element("option", name, value=name, selected=name == shown) for name in sorted(maps)]
    data = json.dumps({name: np.round(m, 2).tolist() for name, m in maps.items()}).replace("<", "\\u003c")
    return join([
        element("p", caption),
        element("p", element("label", "Shown: ", element("select", options, id="attention-choice"))),
        element("div", element("table", element("thead", head), element("tbody", body), class_="heat"), class_="scroll"),
        element("script", Markup(data), type="application/json", id="attention-maps"),
    ])  # fmt: skip
