"""Data, models and figures that the parameters leave out: a folder with a file that says why takes their place."""

from __future__ import annotations

import json
from pathlib import Path

from stepladder.replacing import replacing

FILE = "absent.json"


def leave(folder: Path, why: str) -> None:
    """Replace ``folder`` by one with a file that says ``why`` it is empty."""
    with replacing(folder) as fresh:
        (fresh / FILE).write_text(json.dumps({"why": why}) + "\n", encoding="utf-8")


def why(*folders: Path) -> str:
    """The reason why the first of ``folders`` that is left out is empty; "" where none is left out."""
    for folder in folders:
        if (folder / FILE).exists():
            return str(json.loads((folder / FILE).read_text(encoding="utf-8"))["why"])
    return ""
