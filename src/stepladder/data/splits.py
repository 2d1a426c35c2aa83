"""Which split is which, and splits made where a source has none: a pure function of (seed, key)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

NAMES = {"train": "train", "test": "test", "validation": "validation", "valid": "validation"} | dict.fromkeys(
    ("val", "dev"), "validation"
)
WANTED = ("train", "validation", "test")


def known(split: str) -> str:
    """The name under which ``split`` of a source is kept: one of ``WANTED``, a further test split's own, or "" for none."""
    return split if split.startswith("test_") else NAMES.get(split, "")


def further(splits: Iterable[str]) -> list[str]:
    """The test splits beside ``test``, sorted."""
    return sorted(name for name in splits if name not in WANTED)


def shuffled(keys: Iterable[str], seed: int) -> list[str]:
    """``keys`` in an order of their own: which come first depends on nothing but themselves and ``seed``."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
