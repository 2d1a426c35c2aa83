"""Reads files of results; a file that does not exist reads as empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepladder import history
from stepladder.errors import UserError
from stepladder.journal.record import Line
from stepladder.params import Params


def read_json(path: Path) -> Any:
    """The content of ``path``, ``{}`` where it does not exist; raises ``UserError`` where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); remove it and run its stage again with `dvc repro`.") from None


def read_lines(path: Path) -> list[Any]:
    """The complete lines of a JSON-lines file, none where it does not exist; a line that a kill cut off is skipped."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)]


def curves(params: Params, models: Path) -> Iterator[tuple[int | None, str, list[Line]]]:
    """(T or ``None``, the model's folder in ``models``, lines of its curve) of every model that there is."""
    folders = [(t, f"diffusion/T{t}") for t in sorted(params.sweep.timesteps)]
    for timesteps, folder in [*folders, (None, "transformer"), (None, "feature-net")]:
        if lines := history.curve(models / folder):
            yield timesteps, folder, lines


def series(lines: list[Line], metric: str) -> list[tuple[int, float]]:
    """(step, value) of one metric of a curve, in the order written."""
    return [(line["step"], line["metrics"][metric]) for line in lines if metric in line.get("metrics", {})]
