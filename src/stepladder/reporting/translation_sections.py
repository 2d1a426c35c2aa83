"""The page's sections on the translation: figures against the copy baseline, sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from stepladder.metrics.numbers import ABSENT, fixed, percent
from stepladder.metrics.texts import Translated
from stepladder.reporting.comparison import chrf_histogram
from stepladder.reporting.markup import Content, Markup, element, join, number, table
from stepladder.reporting.reading import read_lines
from stepladder.reporting.rows import Bar, Comparison
from stepladder.text_tasks.record import ENTRIES, Figures

SHOWN = 6
Form = Callable[[float | None], str]
SCORES: tuple[tuple[str, str, Form], ...] = (
    ("chrf", "chrF", lambda v: fixed(v, 1)),
    ("bleu", "BLEU", lambda v: fixed(v, 1)),
    ("ter", "TER (smaller is better)", lambda v: fixed(v, 1)),
    ("bleu_lowercased_tokenised", "BLEU, lower-cased, Moses-tokenised", lambda v: fixed(v, 1)),
    ("rouge1", "ROUGE-1", lambda v: fixed(v, 1)),
    ("rouge2", "ROUGE-2", lambda v: fixed(v, 1)),
    ("rougel", "ROUGE-L", lambda v: fixed(v, 1)),
    ("exact_match", "exact match", percent),
)


def warning(comparison: Comparison) -> Markup | None:
    """A warning that the language model counts as failed, with the reason; ``None`` where it does not."""
    failures = comparison.get("failed") or {}
    if not (why := next(filter(None, map(failures.get, ENTRIES)), None)):
        return None
    text = element("p", f"This model counts as failed: {why}. It does not become @champion by itself.")
    return element("div", text, class_="verdict warning")


def body(metrics: Figures, reports: Path) -> Markup:
    """The section: scores, and sentences."""
    return join([scores(metrics), sentences(reports)])


def scores(metrics: Figures) -> Markup:
    """All scores next to those of copying the source, for each test split; signatures."""
    parts: list[Content] = [element("p", f"{metrics['sentences']:,} held-out sentences."), _table(metrics)]
    for split, figures in metrics.get("splits", {}).items():
        parts += [element("h3", split), element("p", f"{figures['sentences']:,} sentences."), _table(figures)]
    signatures = [
        element("p", f"{name}: ", element("code", signature), class_="note")
        for name, signature in metrics.get("signatures", {}).items()
    ]
    if "bleu_lowercased_tokenised" in metrics:
        note = "BLEU lower-cased and Moses-tokenised is that of older papers; it is higher, and compares with nothing else."
        signatures.append(element("p", note, class_="note"))
    return join([parts, signatures])


def _table(metrics: Figures) -> Markup:
    copy = metrics.get("copy", {})
    rows: list[list[Content]] = []
    for key, name, form in SCORES:
        if key not in metrics:
            continue
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{form(low)} to {form(high)}"
        rows.append(
            [name, number(form(metrics[key])), element("td", interval, class_="range"), number(form(copy.get(key)))]
        )
    for key, name in (("perplexity", "perplexity"), ("sentences_per_second", "sentences a second")):
        if metrics.get(key) is not None:
            rows.append([name, number(fixed(metrics[key], 1)), "", number(ABSENT)])
    head: list[Content] = [
        "",
        element("th", "model", class_="number", scope="col"),
        element("th", "interval", class_="range", scope="col"),
        element("th", "copying the source", class_="number", scope="col"),
    ]
    return table(head, rows)


def sentences(reports: Path) -> Markup:
    """The distribution of chrF over sentences; the best sentences, some in the middle, the worst."""
    rows: list[Translated] = read_lines(reports / "transformer" / "translations.jsonl")
    if not rows:
        return element("p", "No translations were kept.")
    good, middling, bad = choose(rows)
    return join([
        element("h3", "chrF of single sentences"), _bars(chrf_histogram(rows)),
        element("p", f"Sentences from each chrF up to the next, of {len(rows):,}.", class_="note"),
        *[
            [element("h3", title), _examples(chosen)]
            for title, chosen in (("Good", good), ("Middling", middling), ("Bad", bad)) if chosen
        ],
        element("p", "Words that the reference does not have are marked.", class_="note"),
    ])  # fmt: skip


def choose(
    rows: Sequence[Translated], count: int = SHOWN
) -> tuple[list[Translated], list[Translated], list[Translated]]:
    """(good, middling, bad): highest chrF, around the median, lowest; among equals the longest; no sentence twice."""
    distinct = list({(r["source"], r["translation"]): r for r in rows}.values())
    ordered = sorted(distinct, key=lambda r: (-r["chrf"], -len(r["source"]), r["source"]))
    count = min(count, -(-len(ordered) // 3))
    good = ordered[:count]
    worst_first = sorted(ordered[count:], key=lambda r: (r["chrf"], -len(r["source"]), r["source"]))
    bad, between = worst_first[:count], worst_first[count:][::-1]
    start = max(0, (len(between) - count) // 2)
    return good, between[start : start + count], bad


def _examples(rows: Sequence[Translated]) -> Markup:
    cells = [
        [
            element("td", r["source"], dir="auto", data_name="source"),
            element("td", r["reference"], dir="auto", data_name="reference"),
            element("td", _marked(r["translation"], r["reference"]), dir="auto", data_name="translation"),
            number(fixed(r["chrf"], 1), data_name="chrF"),
        ]
        for r in rows
    ]
    head: list[Content] = ["source", "reference", "translation", element("th", "chrF", class_="number", scope="col")]
    return table(head, cells, class_="wide examples")


def _marked(translation: str, reference: str) -> Markup:
    words, expected = translation.split(), reference.split()
    parts: list[Content] = []
    for kind, start, end, _, _ in SequenceMatcher(None, words, expected, autojunk=False).get_opcodes():
        if start < end:
            text = " ".join(words[start:end])
            parts += [" ", text if kind == "equal" else element("mark", text)]
    return join(parts[1:])


def _bars(histogram: Sequence[Bar]) -> Markup:
    most = max(row["sentences"] for row in histogram)
    return element("div", [
        element("div", f"{row['sentences']:,}", element("i", style=f"--share:{78 * row['sentences'] / most:.1f}"),
                element("b", row["chrf"].split("-")[0]))
        for row in histogram
    ], class_="bars")  # fmt: skip
