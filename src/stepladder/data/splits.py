"""Which split is which, and splits made where a source has none: a pure function of (seed, key)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

NAMES = {"train": "train", "test": "test", "validation": "validation", "valid": "validation"} | dict.fromkeys(
    ("val", "dev"), "validation"
)
WANTED = ("train", "validation", "test")


def canonical(split: str) -> str:
    """The name under which a source's ``split`` is kept: one of ``WANTED``, or a further test split's name; "": not kept."""
    return split if split.startswith("test_") else NAMES.get(split, "")


def further(splits: Iterable[str]) -> list[str]:
    """The test splits other than ``test``, sorted."""
    return sorted(name for name in splits if name not in WANTED)


def shuffled(keys: Iterable[str], seed: int) -> list[str]:
    """``keys`` in a random order, which depends on nothing but themselves and ``seed``."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
