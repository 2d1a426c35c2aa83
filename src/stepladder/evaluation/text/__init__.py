"""How good language models are: translations and summaries, running text, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepladder.data.card import read_card
from stepladder.description import read
from stepladder.errors import UserError
from stepladder.params import Params
from stepladder.transformer.networks.description import TASKS


def evaluate(params: Params, data: Path, model: Path, out: Path) -> dict[str, Any]:
    """Judge the language model in the folder ``model`` on the held-out text in ``data``, and write it to ``out``.

    Returns:
        What is written to ``metrics.json``: the ``task``, the figures of the test split with their intervals, ``splits`` with
        those of further test splits.

    Raises:
        UserError: there is no model, or the text was prepared for another task.
    """
    from stepladder.evaluation.text import classes, masked, running, translation

    judges = {
        "pairs": translation.evaluate,
        "lines": running.evaluate,
        "labels": classes.evaluate,
        "masked_lm": masked.evaluate,
    }
    task, prepared = read(model, *TASKS).task, read_card(data).get("task", "pairs")
    if prepared != task and not (task == "masked_lm" and prepared in ("lines", "labels")):
        raise UserError(
            f"{data} was prepared for text.task={prepared} and {model} is a model of {task}; prepare the text again, or train on it."
        )
    return judges[task](params, data, model, out)
