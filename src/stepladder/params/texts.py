"""Checks of lengths and batches for trainings on text, by form; the lengths come from parameters or from prepared data.

Each check raises ``ValueError`` with the key, the value and what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stepladder.params.decoding import Decoding
from stepladder.params.section import Training
from stepladder.params.transformer import Transformer

if TYPE_CHECKING:
    from stepladder.params.tree import Params


Card = Mapping[str, Any]


def positions(t: Transformer, decoding: Decoding, max_length: int) -> None:
    """Check that a translation stays within the positions learned from sentences of up to ``max_length`` tokens."""
    longest = max_length + 2
    if t.positions == "learned" and decoding.max_length > longest:
        raise ValueError(
            f"decoding.max_length={decoding.max_length} is more than transformer.positions=learned knows after a "
            f"training with text.max_length={max_length}; set it to at most {longest}"
        )


def blocks(key: str, training: Training, context: int, devices: int = 1) -> None:
    """Check that a batch of running text has a block of ``context`` tokens for each of its parts."""
    parts = training.accumulate * devices
    if training.batch_size // context < parts:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} tokens hold {training.batch_size // context} blocks of "
            f"transformer.context={context}, fewer than the {parts} parts of a batch (accumulate times ranks); give at least "
            f"{parts * context}"
        )


def budget(key: str, training: Training, longest: int) -> None:
    """Check that a batch holds the ``longest`` text of the training data, in the tokens that ``batch_size`` counts."""
    if training.batch_size < longest:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} target tokens is less than the longest target of the training data, "
            f"{longest}; give at least that, or lower text.max_length"
        )


def running(key: str, params: Params, training: Training, card: Card, devices: int) -> None:
    """Check that the running text fills two blocks, and a batch has a block for each of its parts."""
    t = params.transformer
    blocks(key, training, t.context, devices)
    length = t.context + 1 if t.architecture == "decoder" else t.context
    tokens = round(t.data_share * card["counts"]["train"])
    if tokens < 2 * length:
        raise ValueError(
            f"The training text has {tokens} tokens, fewer than two blocks of {length}; give more text, a larger "
            "transformer.data_share or a smaller transformer.context"
        )


def classes(key: str, params: Params, training: Training, card: Card, devices: int) -> None:
    """Check that a batch holds the longest text, where the card has the lengths of texts."""
    if "tokens_per_text" in card:
        budget(key, training, card["tokens_per_text"]["train"]["longest"] + 2)


def sentences(key: str, params: Params, training: Training, card: Card, devices: int) -> None:
    """Check that a batch holds the longest sentence, and the pairs fill a batch, where the card counts them."""
    if "tokens_per_sentence" not in card:
        return
    lengths = card["tokens_per_sentence"]["train"]
    budget(key, training, lengths["longest"] + 1)
    if "counts" not in card:
        return
    count = round(params.transformer.data_share * card["counts"]["train"])
    tokens = round((lengths["mean"] + 1) * count)
    if tokens < training.batch_size:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} and {count} sentence pairs to learn from, of {tokens} target tokens: they do not "
            f"fill a batch; give more data, or a smaller {key}.batch_size"
        )
