"""JSON and JSON-lines files of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_lines(file: Path) -> list[dict[str, Any]]:
    """What each line of ``file`` holds."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A line for each of ``rows``."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON into ``file``."""
    file.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
