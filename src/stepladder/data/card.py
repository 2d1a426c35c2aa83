"""The card of a prepared data set: ``card.json`` beside its arrays, and the folder's appearance in one stroke."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepladder.errors import UserError

CARD = "card.json"


def read_card(folder: Path) -> dict[str, Any]:
    """The card in ``folder``; ``UserError`` where nothing is prepared."""
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise UserError(
            f"{folder} holds no prepared data; run `stepladder prepare {folder.name}`, or `dvc repro`."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(
            f"{folder / CARD} is damaged; make it anew with `stepladder prepare {folder.name}`, or `dvc checkout`."
        ) from None


def content_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of all files in ``folder`` but the card."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name != CARD:
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


@contextmanager
def prepared(folder: Path, card: dict[str, Any]) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` once the block ends without an error.

    The card, as it then is, gets the ``content_hash`` and is written beside the arrays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        fresh = Path(temporary) / "new"
        fresh.mkdir()
        yield fresh
        card["content_hash"] = content_hash(fresh)
        (fresh / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.move(folder, Path(temporary) / "old")
        shutil.move(fresh, folder)
