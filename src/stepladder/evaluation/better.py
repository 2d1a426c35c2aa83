"""Is B better than A? Two evaluations of the same held-out items, compared by the paired bootstrap (Koehn 2004)."""

from __future__ import annotations

import json
from pathlib import Path

from stepladder.errors import UserError
from stepladder.evaluation.text import files
from stepladder.evaluation.text.measure import Difference, difference
from stepladder.text_tasks.record import Items
from stepladder.text_tasks.tasks import TASKS, name_of


def better(a: Path, b: Path, *, count: int, confidence: float, seed: int) -> list[Difference]:
    """For every score, the value of the evaluation in folder ``b`` minus that in folder ``a``.

    Raises:
        UserError: a folder holds no evaluation of a language model, or they are not of the same items.
    """
    (task, items, rows_a), (task_b, _, rows_b) = _read(a), _read(b)
    if task != task_b:
        raise UserError(f"{a} is an evaluation of text.task={task} and {b} of {task_b}; compare two of the same task.")
    if [[row[key] for key in items.same] for row in rows_a] != [[row[key] for key in items.same] for row in rows_b]:
        raise UserError(
            f"{a} and {b} were not judged on the same held-out items; evaluate both models on the same prepared data."
        )
    return [
        difference(x, y, count=count, confidence=confidence, seed=seed)
        for x, y in zip(items.scores(rows_a), items.scores(rows_b), strict=True)
    ]


def _read(folder: Path) -> tuple[str, Items, list[dict[str, object]]]:
    try:
        task = name_of(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
        if (items := TASKS[task].judging.items) is None:
            raise KeyError(task)
        return task, items, files.read_lines(folder / items.file)
    except (OSError, ValueError, KeyError, AttributeError):
        raise UserError(
            f"{folder} holds no evaluation of a language model; name a folder that `stepladder evaluate transformer` wrote, such "
            "as reports/transformer."
        ) from None
