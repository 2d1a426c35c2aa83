"""A model's folder and its history as a finished training leaves them, of a header, lines and figures that are made up."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stepladder import history


def keep(
    model: Path,
    header: Mapping[str, Any],
    lines: Iterable[Mapping[str, Any]] = (),
    *,
    run: Mapping[str, Any] | None = None,
    figures: Mapping[str, float] | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> Path:
    """``run``: what the tracking store said; ``pictures``: previews, by name. Returns ``model``."""
    model.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        state = Path(temporary)
        text = "".join(json.dumps(line) + "\n" for line in [{"header": header}, *lines])
        (state / history.JOURNAL).write_text(text)
        for name, picture in (pictures or {}).items():
            (state / history.PREVIEWS).mkdir(exist_ok=True)
            (state / history.PREVIEWS / name).write_bytes(picture)
        history.keep(state, model, header, run or {"run_id": None, "parent_run_id": None}, figures or {})
    return model
