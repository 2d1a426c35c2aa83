"""Micro-batches of prepared pictures, drawn for all ranks and shared among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.params import Params, Training
from stepladder.params.fitting import trainable
from stepladder.tasks.task import Batch

MOST_VALIDATED = 2048


def batches(
    family: str, params: Params, data: Path, rank: int, world_size: int
) -> tuple[dict[str, Any], Callable[[int], Batch], list[Batch]]:
    """The card of the pictures prepared in ``data``, this rank's k-th micro-batch of k, and its validation batches.

    A batch holds ``images`` ``(n, C, H, W)`` uint8, ``labels`` ``(n,)``, ``size``, the examples over all ranks, and, in
    training, ``position``, its k.

    Raises:
        UserError: nothing is prepared, or ``family`` cannot be trained on it.
    """
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    trainable(family, params, train.card, world_size)
    training: Training = getattr(params, family).training
    size = training.batch_size // training.accumulate
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def micro_batch(k: int) -> Batch:
        return _batch(train, shuffle.rows(k)[rank::world_size], size) | {"position": k}

    order = shuffle.all(len(test.labels))[:MOST_VALIDATED]
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    validation = [_batch(test, chunk[rank::world_size], len(chunk)) for chunk in chunks]
    return train.card, micro_batch, [batch for batch in validation if len(batch["labels"])]


def _batch(arrays: ImageArrays, rows: Any, size: int) -> Batch:
    labels = torch.from_numpy(arrays.labels[rows]).clamp(min=0)
    return {"images": torch.from_numpy(arrays.images[rows]), "labels": labels, "size": size}
