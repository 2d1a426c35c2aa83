"""The page's section on a language model: the figures that its task's record names, and more for a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stepladder.metrics.numbers import fixed
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.reporting.reading import read_lines
from stepladder.text_tasks.record import Figures, Page
from stepladder.text_tasks.tasks import TASKS

SHOWN = 12


def body(metrics: Figures, reports: Path) -> Markup:
    """Figures with intervals for each test split, and examples."""
    page = TASKS[metrics["task"]].page
    parts: list[Content] = [_metrics_table(metrics, page)]
    for split, figures in metrics.get("splits", {}).items():
        parts += [element("h3", split), _metrics_table(figures, page)]
    for name, value in metrics.get("protocol", {}).items():
        parts.append(element("p", f"{name}: {value}.", class_="note"))
    return join([parts, _examples(*page.examples, reports / "transformer") if page.examples else None])


def of_classes(metrics: Figures, reports: Path) -> Markup:
    """``body``, the figures of each class, and the surest mistakes."""
    return join([body(metrics, reports), _classes(metrics, reports / "transformer")])


def _metrics_table(metrics: Figures, page: Page) -> Markup:
    baseline = page.baselines(metrics)
    rows: list[list[Content]] = []
    for key, name in page.rows:
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{fixed(low, 3)} to {fixed(high, 3)}"
        rows.append(
            [
                name,
                number(fixed(metrics[key], 3)),
                element("td", interval, class_="range"),
                number(fixed(baseline.get(key), 3)),
            ]
        )
    head: list[Content] = [
        "",
        element("th", "model", class_="number", scope="col"),
        element("th", "interval", class_="range", scope="col"),
        element("th", "by frequency alone", class_="number", scope="col"),
    ]
    counts = {"characters": "characters", "tokens": "tokens", "texts": "texts", "hidden": "hidden tokens"}
    held_out = ", ".join(f"{metrics[key]:,} {name}" for key, name in counts.items() if key in metrics)
    return join([element("p", f"Held out: {held_out}."), table(head, rows)])


def _examples(title: str, file: str, columns: Mapping[str, str], folder: Path) -> Markup | None:
    """A row of texts for each row of ``file``; ``columns`` maps the keys of a row to the heads of the table."""
    cells = [
        [element("td", element("pre", row[name]), dir="auto", data_name=name) for name in columns]
        for row in read_lines(folder / file)
    ]
    if not cells:
        return None
    return join([element("h3", title), table([*columns.values()], cells, class_="wide examples")])


def _classes(metrics: Figures, folder: Path) -> Markup:
    columns = ("precision", "recall", "f1")
    head: list[Content] = [
        "class",
        *(element("th", name, class_="number", scope="col") for name in (*columns, "texts")),
    ]
    rows: list[list[Content]] = [
        [name, *(number(fixed(figures[key], 3)) for key in columns), number(f"{figures['texts']:,}")]
        for name, figures in metrics["by_class"].items()
    ]
    confusion_rows: list[list[Content]] = [
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
        element("h3", "Which is taken for which"), table(titles, confusion_rows),
        [element("h3", "The surest mistakes"), table(["text", "class", "taken for", "probability"], mistakes)] if mistakes else None,
    ])  # fmt: skip
