"""Prepared text as tensors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stepladder.data.buckets import Rows, Sentences, by_length, part
from stepladder.tasks.task import Batch
from stepladder.transformer.networks.trained import SpecialTokens

# compiled networks are specialised to divisibility: with lengths that are multiples of this, few graphs serve all batches
MULTIPLE = 8 if os.environ.get("STEPLADDER_COMPILE") == "1" else 1


@dataclass(frozen=True)
class PairBatches:
    """Makes a rank's batches: tensors of the pairs in ``rows``."""

    source: Sentences
    target: Sentences
    special: SpecialTokens

    def __call__(self, rows: Rows, tokens: float) -> Batch:
        """``rows`` as a batch whose summed loss is to be divided by ``tokens``; no rows: a batch that is not counted."""
        empty, pad, bos, eos = not len(rows), self.special.pad, self.special.bos, self.special.eos
        if empty:
            rows = np.zeros(1, dtype=np.int64)
        source = self.source.padded(rows, pad, after=[eos], multiple=MULTIPLE)
        target = self.target.padded(rows, pad, before=[bos], multiple=MULTIPLE)
        wanted = self.target.padded(rows, pad, after=[eos], multiple=MULTIPLE)
        arrays = {"source": source, "target": target, "wanted": np.full_like(wanted, pad) if empty else wanted}
        return {name: torch.from_numpy(array) for name, array in arrays.items()} | {"tokens": tokens}


def fixed_batches(
    data: Path, split: str, special: SpecialTokens, budget: int, rank: int = 0, world_size: int = 1
) -> list[Batch]:
    """A rank's batches of ``split``, in order of length; every rank has the same number."""
    batches = PairBatches(read(data, split, "source"), read(data, split, "target"), special)
    order = by_length(batches.source.lengths, batches.target.lengths)
    pieces = np.array_split(order, max(1, -(-int(batches.target.lengths.sum() + len(order)) // budget)))
    return [batches(part(rows, rank, world_size), 1.0) for rows in pieces]


def read(data: Path, split: str, side: str) -> Sentences:
    """Token ids of one side of a prepared split, memory-mapped."""
    return Sentences.open(data / f"{split}_{side}")


def padded(texts: Sentences, rows: Rows, special: SpecialTokens) -> Rows:
    """Texts as a model reads them: beginning, tokens, end, padding."""
    return texts.padded(rows, special.pad, before=[special.bos], after=[special.eos], multiple=MULTIPLE)
