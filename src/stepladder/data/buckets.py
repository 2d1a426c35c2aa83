"""Batches of sentence pairs of similar lengths, within a budget of target tokens, so that little of them is padding.

The order is a pure function of (seed, epoch): every epoch has the same number of batches, so that the k-th batch of a
training is known without going through those before it. A batch is split among micro-batches and ranks by striding,
and each part knows the target tokens of the full batch, by which the loss is divided: any split gives the same gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stepladder.errors import UserError

POOL = 100  # batches that are sorted by length together

Rows = npt.NDArray[np.int64]


def token_type(vocab_size: int) -> type[np.unsignedinteger]:
    """The smallest type that holds the ids of ``vocab_size`` tokens."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


@dataclass(frozen=True)
class Sentences:
    """Sentences of token ids, one after the other.

    Attributes:
        tokens: all ids, flat.
        offsets: ``(N + 1,)``; sentence ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.
    """

    tokens: npt.NDArray[np.integer]
    offsets: Rows

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def open(cls, stem: Path | str) -> Sentences:
        """The sentences that ``write`` wrote to ``stem``, memory-mapped."""
        return cls(np.load(f"{stem}.npy", mmap_mode="r"), np.load(f"{stem}_offsets.npy"))

    @staticmethod
    def write(stem: Path | str, sentences: Sequence[Sequence[int]], vocab_size: int) -> None:
        """Write ``stem.npy`` (ids of ``vocab_size`` tokens, flat) and ``stem_offsets.npy`` ``(N + 1,)``."""
        ids = np.fromiter((token for s in sentences for token in s), dtype=token_type(vocab_size))
        np.save(f"{stem}.npy", ids)
        np.save(f"{stem}_offsets.npy", np.cumsum([0] + [len(s) for s in sentences], dtype=np.int64))

    @property
    def lengths(self) -> Rows:
        """Tokens of each sentence, ``(N,)``."""
        return np.diff(self.offsets)

    def padded(
        self, rows: Rows, pad: int, *, before: Sequence[int] = (), after: Sequence[int] = (), multiple: int = 1
    ) -> Rows:
        """Sentences ``rows`` as ``(len(rows), longest)``, with ``before`` and ``after`` around each, then ``pad``.

        The width is brought up to a ``multiple``.
        """
        start, length = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        width, lead = int(length.max(initial=0)), len(before)
        column = np.arange(width)
        inside = column < length[:, None]
        padded = np.full((len(rows), _up(lead + width + len(after), multiple)), pad, dtype=np.int64)
        padded[:, :lead] = before
        padded[:, lead : lead + width][inside] = self.tokens[(start[:, None] + column)[inside]]
        for i, token in enumerate(after):
            padded[np.arange(len(rows)), lead + length + i] = token
        return padded


class Buckets:
    """Batches of about ``budget`` target tokens each.

    Args:
        source_lengths: tokens of each pair's source, ``(N,)``.
        target_lengths: tokens of each pair's target, ``(N,)``, as they count towards the budget.
        budget: target tokens of a batch.
        seed: of the order.

    Raises:
        UserError: there are no pairs, or the longest target alone exceeds the budget.
    """

    def __init__(self, source_lengths: Rows, target_lengths: Rows, budget: int, seed: int) -> None:
        if not len(target_lengths):
            raise UserError("The training data has no sentence pairs; prepare some with `stepladder prepare text`.")
        if budget < target_lengths.max():
            raise UserError(
                f"transformer.training.batch_size={budget} target tokens is less than the longest target of the "
                f"training data, {target_lengths.max()}; give at least that, or lower text.max_length."
            )
        self.source_lengths, self.target_lengths, self.seed = source_lengths, target_lengths, seed
        self.batches = int(-(-target_lengths.sum() // budget))
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def rows(self, k: int) -> Rows:
        """Rows of the ``k``-th batch since the beginning, k = 0, 1, 2, ... without end."""
        epoch, number = divmod(k, self.batches)
        return self._epoch(epoch)[number]

    def padding(self, epoch: int = 0, multiple: int = 1) -> float:
        """Share of an epoch's positions, source and target, that is padding, widths being brought up to a ``multiple``."""
        used = total = 0
        for rows in self._epoch(epoch):
            for lengths in (self.source_lengths[rows], self.target_lengths[rows]):
                used, total = used + int(lengths.sum()), total + _up(int(lengths.max(initial=0)), multiple) * len(rows)
        return 1 - used / max(total, 1)

    def largest(self) -> int:
        """The number of the first epoch's batch with most positions, padding included."""
        sizes = [
            len(rows) * int(self.source_lengths[rows].max(initial=0) + self.target_lengths[rows].max(initial=0))
            for rows in self._epoch(0)
        ]
        return int(np.argmax(sizes))

    def _plan(self, epoch: int) -> list[Rows]:
        """An epoch: shuffled, cut into pools, each sorted by length and cut into batches, which are shuffled."""
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.target_lengths))
        pools = -(-self.batches // POOL)
        shares = [self.batches * (i + 1) // pools - self.batches * i // pools for i in range(pools)]
        batches: list[Rows] = []
        for pool, share in zip(_cut(order, self.target_lengths, shares), shares, strict=True):
            pool = pool[by_length(self.source_lengths[pool], self.target_lengths[pool])]
            batches += _cut(pool, self.target_lengths, [1] * share)
        return [batches[i] for i in random.permutation(len(batches))]


def part(rows: Rows, index: int, parts: int) -> Rows:
    """The ``index``-th of ``parts`` shares of ``rows``: of similar size and, where rows are sorted, of similar lengths."""
    return rows[index::parts]


def _cut(rows: Rows, lengths: Rows, shares: list[int]) -> list[Rows]:
    """``rows`` in consecutive pieces whose numbers of tokens are in proportion to ``shares``."""
    total = lengths[rows].cumsum()
    bounds = np.cumsum(shares) * (total[-1] / sum(shares)) if len(rows) else np.zeros(len(shares))
    # a sentence belongs to the piece in which its middle token lies
    ends = np.searchsorted(total - lengths[rows] / 2, bounds[:-1])
    return np.split(rows, ends)


def _up(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple


def by_length(source: Rows, target: Rows) -> Rows:
    """An order in which neighbours have similar lengths on both sides: by the longer side, then by the difference.

    The difference rises at one length and falls at the next, so that it does not jump in between.
    """
    longer, difference = np.maximum(source, target), source - target
    return np.lexsort((np.where(longer % 2, difference, -difference), longer))
