"""How good language models are: translations and summaries, running text, classes."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from stepladder.data.card import read_card
from stepladder.params import Params

MODULES = {"pairs": "translation", "lines": "running", "labels": "classes"}


def evaluate(params: Params, data: Path, model: Path, out: Path) -> dict[str, Any]:
    """Judge the model in the folder ``model`` on the held-out text in ``data``, by its card's task; write it to ``out``.

    Returns:
        What is written to ``metrics.json``: the figures of the test split with their intervals, ``splits`` with those of
        further test splits, and the ``protocol``.
    """
    task = read_card(data).get("task", "pairs")
    evaluated: dict[str, Any] = import_module(f"{__name__}.{MODULES[task]}").evaluate(params, data, model, out)
    return evaluated
