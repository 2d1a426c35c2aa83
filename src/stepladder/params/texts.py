"""What trainings on text ask of lengths and batches: whether the lengths are parameters or prepared.

Each raises ``ValueError`` with the key, the value and what helps.
"""

from __future__ import annotations

from stepladder.params.decoding import Decoding
from stepladder.params.section import Training
from stepladder.params.transformer import Transformer


def positions(t: Transformer, decoding: Decoding, task: str, max_length: int) -> None:
    """That a translation stays within the positions learned from sentences of up to ``max_length`` tokens."""
    longest = max_length + 2
    if task == "pairs" and t.positions == "learned" and decoding.max_length > longest:
        raise ValueError(
            f"decoding.max_length={decoding.max_length} is more than transformer.positions=learned knows after a "
            f"training with text.max_length={max_length}; set it to at most {longest}"
        )


def blocks(key: str, training: Training, context: int, devices: int = 1) -> None:
    """That a batch of running text has a block of ``context`` tokens for each of its parts."""
    parts = training.accumulate * devices
    if training.batch_size // context < parts:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} tokens hold {training.batch_size // context} blocks of "
            f"transformer.context={context}, fewer than the {parts} parts of a batch (accumulate times ranks); give at least "
            f"{parts * context}"
        )


def budget(key: str, training: Training, longest: int) -> None:
    """That a batch holds the ``longest`` text of the training data, in tokens as they count towards it."""
    if training.batch_size < longest:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} target tokens is less than the longest target of the training data, "
            f"{longest}; give at least that, or lower text.max_length"
        )
