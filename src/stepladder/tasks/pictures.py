"""What all families that learn from pictures share: micro-batches, randomness that the number of ranks does not change, validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Rows, Shuffle
from stepladder.description import Description
from stepladder.params import Params, Training
from stepladder.params.fitting import trainable
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Batch, Task

VALIDATION_STREAM = 2**40  # more than any number of a micro-batch
MOST_VALIDATED = 2048


class Pictures:
    """Prepared pictures in batches, chosen for all ranks and divided among them.

    A batch holds ``images`` ``(n, C, H, W)`` uint8, ``labels`` ``(n,)``, zeros without classes, ``text`` ``(n, L)`` if
    ``text`` is true, ``size``, the examples over all ranks, and in training ``position``, the micro-batch's number.

    Raises:
        UserError: nothing is prepared in ``data``, or ``family`` cannot be trained on it.
    """

    def __init__(
        self,
        family: str,
        params: Params,
        training: Training,
        data: Path,
        rank: int,
        world_size: int,
        text: bool = False,
    ) -> None:
        self.train, self.test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
        self.card = self.train.card
        trainable(family, params, self.card, world_size)
        self.rank_slice, self.text = slice(rank, None, world_size), text
        self.size = training.batch_size // training.accumulate
        self.shuffle = Shuffle(len(self.train.labels), self.size, params.seed)

    def micro_batch(self, k: int) -> Batch:
        """This rank's part of the ``k``-th micro-batch."""
        return self._shared(self.train, self.shuffle.rows(k)) | {"position": k}

    def validation(self, size: int = 0, most: int | None = MOST_VALIDATED, *, even: bool = False) -> list[Batch]:
        """This rank's part of ``most`` held-out pictures, by batches of ``size`` over all ranks (0: as in training).

        ``even``: batches of nearly equal size, so that each rank has a part of each; else all but the last are full.
        """
        order, size = self.shuffle.all(len(self.test.labels))[:most], size or self.size
        splits = range(size, len(order), size)
        chunks = np.array_split(order, len(splits) + 1) if even else np.split(order, splits)
        return [batch for batch in (self._shared(self.test, chunk) for chunk in chunks) if len(batch["labels"])]

    def batch(self, arrays: ImageArrays, rows: Rows) -> Batch:
        """The pictures of ``rows`` with their labels and texts, without ``size``."""
        labels = torch.from_numpy(arrays.labels[rows]).clamp(min=0)
        batch = {"images": torch.from_numpy(arrays.images[rows]), "labels": labels}
        return batch | (
            {"text": torch.from_numpy(arrays.texts[rows])} if self.text and arrays.texts is not None else {}
        )

    def _shared(self, arrays: ImageArrays, rows: Rows) -> Batch:
        return self.batch(arrays, rows[self.rank_slice]) | {"size": len(rows)}


class PictureTask(Task):
    """Learns from ``Pictures``. A micro-batch's random numbers are sampled for all ranks from (seed, position); a rank
    takes its part: the number of ranks does not change the result.
    """  # fmt: skip

    def __init__(
        self, description: Description, training: Training, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.description, self.training_section, self.seed = description, training, seed
        self.rank_slice = slice(rank, None, world_size)

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.training_section)

    def generators(self, position: int) -> tuple[torch.Generator, torch.Generator]:
        """Generators for the micro-batch at ``position``, on the CPU and on the task's device; may be the same."""
        random = generator(self.seed, position)
        return random, random if self.device.type == "cpu" else generator(self.seed, position, device=self.device)

    def sample_for_ranks(
        self, distribution: Callable[..., Tensor], shape: tuple[int, ...], random: torch.Generator, dim: int = 0
    ) -> Tensor:
        """This rank's part along ``dim`` of random numbers that are sampled for all ranks."""
        values = distribution(shape, generator=random, device=self.device)
        return values[self.rank_slice] if dim == 0 else values[:, self.rank_slice]

    def log_validation(self, batch: Batch, **figures: Tensor) -> None:
        """Log the means over a validation batch, as ``validation/NAME``."""
        size: Any = float(len(batch["labels"]))  # an int would be averaged over the ranks as one, and rounded down
        for name, figure in figures.items():
            self.log(f"validation/{name}", figure, batch_size=size, sync_dist=True)
