"""The page's sections on models of running text and of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder.metrics.numbers import fixed, percent
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.reporting.reading import read_lines

Metrics = Mapping[str, Any]
TITLES = {"lines": "Language model", "labels": "Classification", "masked_lm": "Masked language model"}
SHOWN = 12


def tiles(metrics: Metrics) -> list[tuple[str, str, str]]:
    """The headline figure: name, figure, and what it is to be compared with."""
    if not metrics:
        return []
    if metrics["task"] == "lines":
        unigram = f"by how often each token occurs: {fixed(metrics['unigram_bits_per_character'], 3)}"
        return [("bits a character", fixed(metrics["bits_per_character"], 3), unigram)]
    if metrics["task"] == "labels":
        majority = f"always the commonest: {percent(metrics['majority']['accuracy'])}"
        return [("classified rightly", percent(metrics["accuracy"]), majority)]
    return [("hidden tokens found", percent(metrics["accuracy"]), f"of {metrics['hidden']:,}")]


def body(metrics: Metrics, reports: Path) -> Markup:
    """Figures with intervals for each test split, and examples."""
    parts: list[Content] = [_figures(metrics)]
    for split, figures in metrics.get("splits", {}).items():
        parts += [element("h3", split), _figures(figures | {"task": metrics["task"]})]
    for name, told in metrics.get("protocol", {}).items():
        parts.append(element("p", f"{name}: {told}.", class_="note"))
    examples = {"lines": _continuations, "labels": _classes}.get(metrics["task"])
    return join([parts, examples(metrics, reports / "transformer") if examples else None])


def _figures(metrics: Metrics) -> Markup:
    names = {
        "lines": (("bits_per_character", "bits a character"), ("perplexity", "perplexity, a token"), ("loss", "loss, nats a token")),
        "labels": (("accuracy", "accuracy"), ("macro_f1", "macro-F1")),
        "masked_lm": (("accuracy", "hidden tokens found"), ("perplexity", "perplexity, a hidden token"), ("loss", "loss, nats")),
    }[metrics["task"]]  # fmt: skip
    beside = {"bits_per_character": metrics.get("unigram_bits_per_character"), **metrics.get("majority", {})}
    rows: list[list[Content]] = []
    for key, name in names:
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{fixed(low, 3)} to {fixed(high, 3)}"
        rows.append(
            [
                name,
                number(fixed(metrics[key], 3)),
                element("td", interval, class_="range"),
                number(fixed(beside.get(key), 3)),
            ]
        )
    head: list[Content] = [
        "",
        element("th", "model", class_="number", scope="col"),
        element("th", "interval", class_="range", scope="col"),
        element("th", "by frequency alone", class_="number", scope="col"),
    ]
    counts = {"characters": "characters", "tokens": "tokens", "texts": "texts", "hidden": "hidden tokens"}
    told = ", ".join(f"{metrics[key]:,} {name}" for key, name in counts.items() if key in metrics)
    return join([element("p", f"Held out: {told}."), table(head, rows)])


def _continuations(metrics: Metrics, folder: Path) -> Markup | None:
    rows = read_lines(folder / "continuations.jsonl")
    if not rows:
        return None
    cells = [
        [
            element("td", element("pre", row[name]), dir="auto", data_name=name)
            for name in ("prompt", "text", "continuation")
        ]
        for row in rows
    ]
    head = ["held-out text", "as it goes on", "as the model goes on"]
    return join([element("h3", "How it goes on"), table(head, cells, class_="wide examples")])


def _classes(metrics: Metrics, folder: Path) -> Markup:
    columns = ("precision", "recall", "f1")
    head: list[Content] = [
        "class",
        *(element("th", name, class_="number", scope="col") for name in (*columns, "texts")),
    ]
    rows: list[list[Content]] = [
        [name, *(number(fixed(figures[key], 3)) for key in columns), number(f"{figures['texts']:,}")]
        for name, figures in metrics["by_class"].items()
    ]
    taken: list[list[Content]] = [
        [name, *(number(f"{n:,}" if n else "") for n in counts)]
        for name, counts in zip(metrics["classes"], metrics["confusion"], strict=True)
    ]
    titles: list[Content] = [
        "class",
        *(element("th", name, class_="number", scope="col") for name in metrics["classes"]),
    ]
    wrong = [row for row in read_lines(folder / "predictions.jsonl") if row["label"] != row["predicted"]]
    wrong.sort(key=lambda row: -row["probability"])
    mistakes: list[list[Content]] = [
        [element("td", row["text"], dir="auto"), row["label"], row["predicted"], number(fixed(row["probability"], 2))]
        for row in wrong[:SHOWN]
    ]
    return join([
        element("h3", "By class"), table(head, rows),
        element("h3", "Which is taken for which"), table(titles, taken),
        [element("h3", "The surest mistakes"), table(["text", "class", "taken for", "probability"], mistakes)] if mistakes else None,
    ])  # fmt: skip
