"""How good language models are: translations and summaries, running text, classes."""

from __future__ import annotations

from pathlib import Path

from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.metrics.texts import TextMetrics
from stepladder.params import Params
from stepladder.text_tasks.tasks import TASKS, name_of
from stepladder.transformer.networks.description import read_text


def evaluate(params: Params, data: Path, model: Path, out: Path) -> TextMetrics:
    """Judge the language model in the folder ``model`` on the held-out text in ``data``, and write it to ``out``.

    Returns:
        What is written to ``metrics.json``: the ``task``, the figures of the test split with their intervals, ``splits`` with
        those of further test splits.

    Raises:
        UserError: there is no model, or the text was prepared for another task.
    """
    task, prepared = TASKS[read_text(model).task], name_of(read_card(data))
    if prepared not in task.forms:
        raise UserError(
            f"{data} was prepared for text.task={prepared} and {model} is a model of {task.name}; prepare the text again, or train on it."
        )
    metrics: TextMetrics = task.judging.judge(params, data, model, out)
    return metrics
