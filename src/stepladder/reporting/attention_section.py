"""The page's section on a language model's attention: one text by layer and head, entropy by depth, positions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stepladder.metrics.texts import AttentionMap
from stepladder.reporting.embedded import figure
from stepladder.reporting.markup import Markup, element, join
from stepladder.reporting.reading import read_json

FIRST = ("cross", "decoder", "encoder")  # only the first that the model has can be viewed by layer and head
EMBEDDED_WEIGHTS = 40_000
SHOWN_TOKENS = 60
CAPTIONS = {
    "encoder": "The encoder's self-attention: each row is a token, each column a token that it reads.",
    "decoder": "The decoder's self-attention: each row is the token being written, each column one read before it.",
    "cross": "The decoder's attention to the encoder: each row is the token being written, each column one of the source.",
}


def attention(reports: Path) -> Markup | None:
    """Maps of one held-out text, entropy by depth over several, position encodings; None where no maps were stored."""
    results = read_json(reports / "transformer" / "attention.json")
    if not results:
        return None
    first_kind = next(kind for kind in FIRST if kind in results["maps"])
    heading = element("h3", "What it reads")
    other_maps = [
        figure(reports, f"attention-{kind}", CAPTIONS[kind], f"{CAPTIONS[kind]} Layers from top to bottom, heads side by side.")
        for kind in results["maps"] if kind != first_kind
    ]  # fmt: skip
    return join([
        heading, _selectable_map(results["maps"][first_kind], CAPTIONS[first_kind]), other_maps,
        figure(reports, "attention-entropy", "Entropy of attention against the layer, a point for each head",
               "How many tokens a head looks at: 0 is one only, the logarithm of their number all alike. Mean over held-out texts."),
        figure(reports, "positions", "Encodings of positions by dimension", "What is added to the embeddings of the first positions."),
    ])  # fmt: skip


def _selectable_map(attention_map: AttentionMap, caption: str) -> Markup:
    """One kind of attention as a shaded table, with a menu to select layer and head."""
    weights = np.asarray(attention_map["weights"], dtype=float)[..., :SHOWN_TOKENS, :SHOWN_TOKENS]
    columns, rows = (list(attention_map[side])[:SHOWN_TOKENS] for side in ("columns", "rows"))
    layers, heads = weights.shape[:2]
    maps = {f"layer {i + 1}, mean of heads": weights[i].mean(axis=0) for i in range(layers)}
    selected = f"layer {layers}, mean of heads"
    if weights.size <= EMBEDDED_WEIGHTS:
        maps |= {f"layer {i + 1}, head {j + 1}": weights[i, j] for i in range(layers) for j in range(heads)}
    head = element("tr", element("td"), [element("th", element("span", token), scope="col") for token in columns])
    body = [
        element("tr", element("th", token, scope="row"), [
            element("td", style=f"--w:{w:.2f}", title=f"{token} reads {read}: {w:.2f}")
            for w, read in zip(row, columns, strict=True)
        ])
        for token, row in zip(rows, maps[selected], strict=True)
    ]  # fmt: skip
    options = [element("option", name, value=name, selected=name == selected) for name in sorted(maps)]
    data = json.dumps({name: np.round(m, 2).tolist() for name, m in maps.items()}).replace("<", "\\u003c")
    return join([
        element("p", caption),
        element("p", element("label", "Shown: ", element("select", options, id="attention-choice"))),
        element("div", element("table", element("thead", head), element("tbody", body), class_="heat"), class_="scroll"),
        element("script", Markup(data), type="application/json", id="attention-maps"),
    ])  # fmt: skip
