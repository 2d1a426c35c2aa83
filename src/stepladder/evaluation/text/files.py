"""JSON and JSON-lines files of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def read_lines(file: Path) -> list[dict[str, object]]:
    """The JSON object of each line of ``file``."""
    return lines_of(file, dict[str, object])


def lines_of(file: Path, kind: type[R]) -> list[R]:
    """The same, typed as ``kind``, which is not checked."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def write_lines(file: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """A line for each of ``rows``."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(file: Path, content: Mapping[str, object]) -> None:
    """Write ``content`` as indented JSON into ``file``."""
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
