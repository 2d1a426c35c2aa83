"""The card of a prepared data set: ``card.json`` beside its arrays, and the folder's appearance in one stroke."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepladder.data.replacing import replacing
from stepladder.errors import UserError

CARD = "card.json"
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def read_card(folder: Path) -> dict[str, Any]:
    """The card in ``folder``; ``UserError`` where nothing is prepared."""
    try:
        return json.loads((folder / CARD).read_text(encoding="utf-8"))
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
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


@contextmanager
def prepared(folder: Path, card: dict[str, Any], size: int = 0) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` once the block ends without an error.

    The card, as it then is, gets the ``content_hash`` and is written beside the arrays. After an error ``folder`` is as
    it was before.

    Args:
        size: bytes that are going to be written, where this is known.

    Raises:
        UserError: the disk is full, or the place cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < size:
            raise OSError(errno.ENOSPC, f"{size / 2**20:.0f} MiB needed, {free / 2**20:.0f} MiB free")
        with replacing(folder) as fresh:
            yield fresh
            card["content_hash"] = content_hash(fresh)
            (fresh / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise UserError(
                f"The prepared data cannot be written to {folder} ({error.strerror}); make room, or let it be written to. "
                "What was there before is unchanged."
            ) from None
        raise
