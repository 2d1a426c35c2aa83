"""The card of a prepared data set: ``card.json`` next to its arrays, and writing the folder atomically."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

from stepladder import absent
from stepladder.errors import UserError
from stepladder.replacing import replacing

CARD = "card.json"
ORIGIN = {"source", "source_fingerprint", "licence", "note", "set_aside", "repeated", "seen_in_training"}
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


class BadRow(TypedDict):
    """A row that could not be used; ``row`` counts from 0."""

    split: str
    row: int
    reason: str


class SetAside(TypedDict):
    """All rows that could not be used, and the first of them one by one."""

    count: int
    reasons: dict[str, int]
    rows: list[BadRow]


class Card(TypedDict):
    """What ``card.json`` says of prepared data, as far as pictures and text have it in common. Counts are by split."""

    kind: str  # "images" or "text"
    name: str
    source: str
    licence: str
    counts: dict[str, int]  # rows; of running text tokens
    set_aside: SetAside
    held_out_hash: NotRequired[str]
    source_fingerprint: NotRequired[str]
    content_hash: NotRequired[str]  # absent until all is written


class Texts(TypedDict):
    """The texts that belong to pictures."""

    column: str
    vocabulary: int
    length: int  # to which all are cut or padded
    cut: dict[str, int]  # that were longer
    seen_in_training: dict[str, int]


class PicturesCard(Card):
    """The card of pictures."""

    shape: list[int]  # (C, H, W)
    classes: list[str]  # none: they have none
    note: NotRequired[str]  # what readers of figures must know of the rows
    mean: NotRequired[list[float]]  # of each channel in [-1, 1], as std
    std: NotRequired[list[float]]
    sigma_data: NotRequired[float]  # over all channels
    text: NotRequired[Texts]


class TextCard(Card):
    """What the cards of text share."""

    task: str
    tokenizer: str
    vocab_size: int
    max_length: NotRequired[int]


class Lengths(TypedDict):
    """Tokens of a text."""

    mean: float
    longest: int


class Languages(TypedDict):
    """From which sentence pairs translate, and to which."""

    source: str
    targets: list[str]


class PairsCard(TextCard):
    """The card of sentence pairs."""

    languages: Languages
    tokens_per_sentence: NotRequired[dict[str, Lengths]]  # of targets
    seen_in_training: dict[str, int]


class LinesCard(TextCard):
    """The card of running text."""

    characters: dict[str, int]


class LabelsCard(TextCard):
    """The card of texts with a class."""

    classes: list[str]
    tokens_per_text: NotRequired[dict[str, Lengths]]
    counts_by_class: dict[str, dict[str, int]]
    repeated: dict[str, int]
    seen_in_training: dict[str, int]


class PairLine(TypedDict):
    """A sentence pair of a held-out split, a line of ``SPLIT.jsonl``; ``language``: the target's."""

    source: str
    target: str
    language: str
    references: NotRequired[list[str]]  # all targets, where there are several


class LabelLine(TypedDict):
    """A text with its class, a line of ``SPLIT.jsonl``."""

    text: str
    label: str


C = TypeVar("C", bound=Card)


def read_card(folder: Path) -> Card:
    """The card in ``folder``; ``UserError`` where nothing is prepared."""
    return card_of(folder, Card)


def card_of(folder: Path, kind: type[C]) -> C:
    """The card in ``folder``, which the caller knows to be of ``kind``; errors as ``read_card``."""
    try:
        card: C = json.loads((folder / CARD).read_text(encoding="utf-8"))
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


def longest_of(card: TextCard) -> int:
    """The longest text, in tokens, that prepared text may hold; ``UserError`` where its card does not say."""
    if "max_length" not in card:
        raise UserError(
            "The text was prepared by an older version, which did not keep its text.max_length; run `stepladder prepare text`, "
            "or `dvc repro`."
        )
    return int(card["max_length"])


def facts(card: Card) -> dict[str, object]:
    """What the card says of the data itself, without where it comes from and what was left out of it."""
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
    """SHA-256 of the held-out data before tokenisation: of arrays, and of what JSON can hold."""
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
def prepared(folder: Path, card: Card, size: int = 0, made_of: Callable[[], str] | None = None) -> Iterator[Path]:
    """A temporary folder that takes the place of ``folder`` once the block ends without an error.

    The card, as it then is, gets the ``content_hash`` and is written next to the arrays. After an error ``folder`` is as
    it was before.

    Args:
        size: bytes that are going to be written, where this is known.
        made_of: gives the ``source_fingerprint`` once all is read, or raises ``UserError``.

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
            if made_of:
                card["source_fingerprint"] = made_of()
            card["content_hash"] = content_hash(fresh)
            (fresh / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise UserError(
                f"The prepared data cannot be written to {folder} ({error.strerror}); make room, or let it be written to. "
                "What was there before is unchanged."
            ) from None
        raise
