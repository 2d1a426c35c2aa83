"""The figures of language models: those of each task, and those that a study reads off a training curve; see docs/decoding.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from stepladder.metrics.metric import Metric
from stepladder.text_tasks.tasks import LOSS, TASKS

COMMON = {
    "loss": LOSS,
    "gap": Metric("validation loss less training loss", -1, signed=True, judged=False),
    "gradient_ratio": Metric("gradient norms at the first step, largest layer over smallest", -1, judged=False),
}
FIGURES = {name: metric for task in TASKS.values() for name, metric in task.judging.figures.items()} | COMMON
JUDGED = tuple(name for name, metric in FIGURES.items() if metric.judged)


def headlines(entry: str) -> list[str]:
    """The headline figures of the tasks that a comparison has under ``entry``, see ``ENTRIES``."""
    tables = (task.judging.figures | COMMON for task in TASKS.values() if task.page.entry == entry)
    return list(dict.fromkeys(name for figures in tables for name, metric in figures.items() if metric.headline))


class OfClass(TypedDict):
    """The figures of one class of texts."""

    precision: float
    recall: float
    f1: float
    texts: int


class TextMetrics(TypedDict, total=False):
    """The results of an evaluation of text, its ``metrics.json``. Besides these keys: every figure of its task, with its interval
    ``*_low``, ``*_high``.
    """  # fmt: skip

    task: str
    judged: Mapping[str, str | None]  # see ``judgement.identity``
    protocol: dict[str, str]
    splits: dict[str, TextMetrics]  # of each further test split
    loss: float
    perplexity: float
    # of pairs
    chrf: float
    exact_match: float
    sentences: int
    sentences_per_second: float
    signatures: dict[str, str]  # how each was computed
    copy: dict[str, float]  # the scores of the source as it is
    exchanged: dict[str, float]  # those of the references of other sentences
    # of running text
    bits_per_character: float
    unigram_bits_per_character: float  # of predicting by token counts in training only, as unigram_loss
    characters: int
    tokens: int
    # of texts with a class, and of hidden tokens
    accuracy: float
    classes: list[str]
    majority: dict[str, float]  # the figures of always predicting the class that is commonest in training
    by_class: dict[str, OfClass]
    confusion: list[list[int]]  # [class][predicted class]
    texts: int
    hidden: int  # tokens
    unigram_loss: float


class Translated(TypedDict):
    """A translation, a line of ``translations.jsonl``, with its own chrF."""

    source: str
    reference: str
    translation: str
    language: str
    chrf: float
    references: NotRequired[list[str]]


class AttentionMap(TypedDict):
    """The attention of each layer and head while a model reads one text."""

    rows: list[str]  # of an encoder the tokens that attend, of a decoder those being written
    columns: list[str]  # the tokens attended to
    weights: list[list[list[list[float]]]]  # [layer][head][row][column]
    kind: NotRequired[str]  # where the map is used by itself


class Attention(TypedDict):
    """``attention.json``, by kind, see ``attention_maps``."""

    maps: dict[str, AttentionMap]
    entropy: dict[str, list[list[float]]]  # [layer][head], in nats, mean over several texts
    positions: NotRequired[list[list[float]]]
