"""Pictures in prepared form: memory-mapped uint8 arrays, their classes, and a card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stepladder.data.card import PicturesCard, card_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImageArrays:
    """A prepared split.

    Attributes:
        images: ``(N, C, H, W)`` uint8, mapped.
        labels: ``(N,)``; -1 without classes.
        card: what the data is.
        texts: token numbers ``(N, L)``, 0 for padding; ``None`` without texts.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    card: PicturesCard
    texts: npt.NDArray[np.int64] | None = None

    @classmethod
    def open(cls, folder: Path, split: str) -> ImageArrays:
        """The ``split`` ("train" or "test") prepared in ``folder``; ``UserError`` where nothing is prepared."""
        card = card_of(folder, PicturesCard)
        return cls(
            np.load(folder / f"{split}_images.npy", mmap_mode="r"),
            np.load(folder / f"{split}_labels.npy"),
            card,
            np.load(folder / f"{split}_texts.npy") if "text" in card else None,
        )


def scaled(images: Tensor) -> Tensor:
    """uint8 pictures, of any shape, to [-1, 1]."""
    return images.float() / 127.5 - 1
