"""Blocks of running text, in an order that is a pure function of (seed, k)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stepladder.data.shuffle import Rows, Shuffle
from stepladder.errors import UserError

Tokens = npt.NDArray[np.integer]


class Blocks:
    """Contiguous blocks of ``length`` tokens, in batches of ``size``, in a new order each epoch.

    Each epoch cuts the text from another start, so that in the course of a training blocks begin everywhere.

    Args:
        tokens: ``(N,)``, flat.

    Raises:
        UserError: the text is shorter than two blocks.
    """

    def __init__(self, tokens: Tokens, length: int, size: int, seed: int) -> None:
        if len(tokens) < 2 * length:
            raise UserError(
                f"The training text has {len(tokens)} tokens, fewer than two blocks of {length}; give more text, or a smaller "
                "transformer.context."
            )
        self.tokens, self.length, self.size, self.seed = tokens, length, size, seed
        self.blocks = (len(tokens) - length + 1) // length  # whatever the start
        self._shuffle = Shuffle(self.blocks, size, seed)
        self._start = lru_cache(maxsize=4)(self._random_start)

    def batch(self, k: int) -> Rows:
        """The ``k``-th batch, k = 0, 1, 2, ... without end: ``(size, length)``."""
        epochs = np.arange(k * self.size, (k + 1) * self.size) // self.blocks
        starts = self._shuffle.rows(k) * self.length + np.array([self._start(int(e)) for e in epochs])
        rows: Rows = self.tokens[starts[:, None] + np.arange(self.length)].astype(np.int64)
        return rows

    def _random_start(self, epoch: int) -> int:
        return int(np.random.default_rng((self.seed, 2, epoch)).integers(self.length))


def in_order(tokens: Tokens, length: int, step: int, pad: int) -> Rows:
    """Blocks of ``length`` that begin every ``step`` tokens, the last filled up with ``pad``: ``(blocks, length)``."""
    starts = np.arange(0, max(len(tokens) - (length - step), 1), step)
    filled = np.concatenate([np.asarray(tokens, dtype=np.int64), np.full(length, pad)])
    rows: Rows = filled[starts[:, None] + np.arange(length)]
    return rows


def read(data: Path, split: str) -> Tokens:
    """The running text of a prepared split, memory-mapped: ``(N,)``."""
    tokens: Tokens = np.load(data / f"{split}.npy", mmap_mode="r")
    return tokens
