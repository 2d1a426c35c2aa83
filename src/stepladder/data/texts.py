"""Cleans texts; those that belong to pictures are also cut into sub-words and brought to one length."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from stepladder.data.tokenizer import SPACE, train
from stepladder.errors import UserError

if TYPE_CHECKING:
    from stepladder.data.card import Texts

TOKENIZER = "tokenizer.json"
PAD = 0

Tokens = npt.NDArray[np.int64]


def tidy(text: str) -> str:
    """``text`` in NFC, on one line, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def has_lone_surrogate(text: str) -> bool:
    """Whether ``text`` holds half of a surrogate pair, which no encoding can write."""
    return any(unicodedata.category(character) == "Cs" for character in text)


def clean(text: str | None) -> str:
    """``text`` in NFC, on one line, with single spaces; raises ``ValueError``, saying why, where nothing is left of it."""
    if text is None:
        raise ValueError("no text")
    if has_lone_surrogate(text):
        raise ValueError("not text (half of a surrogate pair)")
    cleaned = tidy(text)
    if not cleaned:
        raise ValueError("empty text")
    return cleaned


def encode(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Tokens:
    """Token numbers ``(N, length)`` of cleaned ``texts``: longer ones are cut, shorter ones padded with 0; "" is all padding."""
    rows = np.full((len(texts), length), PAD, dtype=np.int64)
    for row, encoding in zip(rows, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True):
        ids = encoding.ids[:length]
        row[: len(ids)] = ids
    return rows


def write(folder: Path, texts: dict[str, list[str]], column: str, vocab_size: int, length: int) -> Texts:
    """Write cleaned ``texts`` of each split into ``folder``; returns what the card says of them.

    Files: ``tokenizer.json``, a byte-pair encoding learnt from the texts of ``train``; ``SPLIT_texts.npy`` ``(N, length)``
    int64; ``SPLIT_texts.txt``, a text a line.
    """
    tokenizer = train(texts["train"], "bpe", vocab_size)
    (folder / TOKENIZER).write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    for name, rows in texts.items():
        np.save(folder / f"{name}_texts.npy", encode(tokenizer, rows, length))
        (folder / f"{name}_texts.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    trained_on = set(texts["train"])
    return {
        "column": column,
        "vocabulary": tokenizer.get_vocab_size(),
        "length": length,
        "cut": {name: _overlong(tokenizer, rows, length) for name, rows in texts.items()},
        "seen_in_training": {"test": sum(row in trained_on for row in texts["test"])},
    }


def read(folder: Path, split: str) -> list[str]:
    """The texts of ``split`` prepared in ``folder``."""
    return (folder / f"{split}_texts.txt").read_text(encoding="utf-8").split("\n")[:-1]


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer in ``folder``, of prepared pictures or of a model that reads texts; ``UserError`` where there is none."""
    try:
        return Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8"))
    except Exception as error:
        raise UserError(
            f"{folder / TOKENIZER} cannot be read ({' '.join(str(error).split())[:120]}); a model that reads texts needs it "
            "beside its weights: train it anew, or fetch its whole folder."
        ) from None


def words(tokenizer: Tokenizer, count: int) -> list[str]:
    """``count`` beginnings of words that are entries of the vocabulary, the longest first, repeated where there are fewer."""
    pieces = sorted(tokenizer.get_vocab(), key=lambda piece: (-len(piece), piece))
    beginnings = [piece[1:] for piece in pieces if piece.startswith(SPACE) and len(piece) > 1] or ["a"]
    return [beginnings[i % len(beginnings)] for i in range(count)]


def _overlong(tokenizer: Tokenizer, texts: Iterable[str], length: int) -> int:
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return sum(len(encoding.ids) > length for encoding in encodings)
