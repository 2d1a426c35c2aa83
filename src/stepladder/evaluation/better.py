"""Is B better than A? Two evaluations of the same held-out items, compared by the paired bootstrap (Koehn 2004)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepladder.errors import UserError
from stepladder.evaluation.text import classes, files, running, translation
from stepladder.evaluation.text.measure import Difference, Score, difference

FILES = {"pairs": "translations.jsonl", "lines": "losses.jsonl", "labels": "predictions.jsonl"}
SAME = {"pairs": ("source", "reference"), "lines": ("text",), "labels": ("text", "label")}  # what both must agree in


def better(a: Path, b: Path, *, count: int, confidence: float, seed: int) -> list[Difference]:
    """The difference of every score between the evaluations in the folders ``a`` and ``b``, B minus A.

    Raises:
        UserError: a folder holds no evaluation of a language model, or they are not of the same items.
    """
    (task, first), (other, second) = _read(a), _read(b)
    if task != other:
        raise UserError(f"{a} is an evaluation of text.task={task} and {b} of {other}; compare two of the same task.")
    if [[row[k] for k in SAME[task]] for row in first] != [[row[k] for k in SAME[task]] for row in second]:
        raise UserError(
            f"{a} and {b} were not judged on the same held-out items; evaluate both models on the same prepared data."
        )
    return [
        difference(x, y, count=count, confidence=confidence, seed=seed)
        for x, y in zip(_measures(task, first), _measures(task, second), strict=True)
    ]


def _read(folder: Path) -> tuple[str, list[dict[str, Any]]]:
    try:
        task = json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get("task", "pairs")
        return task, files.read_lines(folder / FILES[task])
    except (OSError, ValueError, KeyError, AttributeError):
        raise UserError(
            f"{folder} holds no evaluation of a language model; name a folder that `stepladder evaluate transformer` wrote, such "
            "as reports/transformer."
        ) from None


def _measures(task: str, rows: list[dict[str, Any]]) -> list[Score]:
    if task == "pairs":
        pairs = [{"target": row["reference"], **row} for row in rows]
        return translation.measures(pairs, [row["translation"] for row in rows], summaries=False)
    return running.measures(rows) if task == "lines" else classes.measures(rows)
