"""The card of a prepared data set: ``card.json`` beside its arrays, and the folder's appearance in one stroke."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepladder import absent
from stepladder.errors import UserError
from stepladder.replacing import replacing

CARD = "card.json"
ORIGIN = {"source", "source_fingerprint", "licence", "note", "set_aside", "repeated", "seen_in_training"}
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def read_card(folder: Path) -> dict[str, Any]:
    """The card in ``folder``; ``UserError`` where nothing is prepared."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return card
    except FileNotFoundError:
        if left_out := absent.why(folder):
            raise UserError(f"{folder} holds nothing, since {left_out}; name a source, and run `dvc repro`.") from None
        raise UserError(
            f"{folder} holds no prepared data; run `stepladder prepare {folder.name}`, or `dvc repro`."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(
            f"{folder / CARD} is damaged; make it anew with `stepladder prepare {folder.name}`, or `dvc checkout`."
        ) from None


def longest_of(card: dict[str, Any]) -> int:
    """The longest text, in tokens, that prepared text may hold; ``UserError`` where its card does not say."""
    if "max_length" not in card:
        raise UserError(
            "The text was prepared by an older version, which did not keep its text.max_length; run `stepladder prepare text`, "
            "or `dvc repro`."
        )
    return int(card["max_length"])


def facts(card: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the data itself: where it comes from apart, and what was left out of it."""
    return {key: value for key, value in card.items() if key not in ORIGIN}


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


def held_out_hash(*contents: Any) -> str:
    """SHA-256 of what models are judged on, as it is before tokenisation: arrays, and what JSON holds."""
    digest = hashlib.sha256()
    for content in contents:
        if hasattr(content, "tobytes"):  # an array
            digest.update(f"{content.dtype}{content.shape}\0".encode())
            digest.update(memoryview(content).cast("B"))
        else:
            digest.update(json.dumps(content).encode())
        digest.update(b"\0")
    return digest.hexdigest()


@contextmanager
def prepared(
    folder: Path, card: dict[str, Any], size: int = 0, made_of: Callable[[], str] | None = None
) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` once the block ends without an error.

    The card, as it then is, gets the ``content_hash`` and is written beside the arrays. After an error ``folder`` is as
    it was before.

    Args:
        size: bytes that are going to be written, where this is known.
        made_of: gives the ``source_fingerprint`` once all is read, or refuses.

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
            card |= {"source_fingerprint": made_of()} if made_of else {}
            card["content_hash"] = content_hash(fresh)
            (fresh / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise UserError(
                f"The prepared data cannot be written to {folder} ({error.strerror}); make room, or let it be written to. "
                "What was there before is unchanged."
            ) from None
        raise
