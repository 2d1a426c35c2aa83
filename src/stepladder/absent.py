"""What the parameters leave out: its stages leave a folder that says so, in place of data, a model or figures."""

from __future__ import annotations

import json
from pathlib import Path

from stepladder.replacing import replacing

FILE = "absent.json"


def leave(folder: Path, why: str) -> None:
    """Put in the place of ``folder`` one that says ``why`` nothing is in it."""
    with replacing(folder) as fresh:
        (fresh / FILE).write_text(json.dumps({"why": why}) + "\n", encoding="utf-8")


def why(*folders: Path) -> str:
    """Why there is nothing in the first of ``folders`` that is left out; empty where none is."""
    for folder in folders:
        if (folder / FILE).exists():
            return str(json.loads((folder / FILE).read_text(encoding="utf-8"))["why"])
    return ""
