"""Pictures as bytes and as numbers, and side by side on one sheet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, from_numpy, uint8

from stepladder.data import image_arrays


def to_uint8(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """``(N, C, H, W)`` in [-1, 1] to uint8 0..255."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(uint8).numpy()


def scaled(images: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 ``(N, C, H, W)`` to [-1, 1]."""
    return image_arrays.scaled(from_numpy(np.array(images)))


def single(picture: Tensor) -> Image.Image:
    """Picture ``(C, H, W)`` in [-1, 1] as it is."""
    array = to_uint8(picture).transpose(1, 2, 0)
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def grid(pictures: Tensor, columns: int, scale: int | None = None) -> Image.Image:
    """Pictures ``(N, C, H, W)`` in [-1, 1] side by side, ``columns`` a row, enlarged ``scale`` times without smoothing."""
    n, c, h, w = pictures.shape
    rows, gap = -(-n // columns), 1
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), 128, dtype=np.uint8)
    for i, picture in enumerate(to_uint8(pictures).transpose(0, 2, 3, 1)):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = picture
    image = Image.fromarray(sheet[..., 0] if c == 1 else sheet)
    scale = scale or max(1, 40 // h)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
