"""The user's pictures and masks, from files, in the form that a model generates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from stepladder.data.preparing.images import MODES, to_array
from stepladder.data.preparing.pictures import FORMATS
from stepladder.errors import UserError


def files(where: Path) -> list[Path]:
    """The file ``where``, or the files in the folder ``where``, by name; ``UserError`` where there are none."""
    paths = [where] if where.is_file() else []
    if where.is_dir():
        paths = sorted(p for p in where.iterdir() if p.is_file() and not p.name.startswith("."))
    if not paths:
        raise UserError(f"{where} is no picture and no folder with pictures; name one.")
    return paths


def picture(file: Path, channels: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The picture in ``file`` as ``(channels, height, width)``; a larger one is cropped around its centre and averaged.

    Raises:
        UserError: the file holds no picture, or a smaller one.
    """
    image = _open(file)
    if image.width < width or image.height < height:
        raise UserError(
            f"{file} is {image.width}x{image.height} pixels, smaller than the {width}x{height} that the model takes; "
            "give a larger picture."
        )
    return to_array(image, (MODES[channels], width, height), Image.Resampling.BOX)


def mask(file: Path, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Which pixels ``(height, width)`` to keep: those that are black in ``file``; white ones are generated.

    Raises:
        UserError: the file holds no picture, one of another shape, or leaves nothing to draw.
    """
    image = _open(file).convert("L")
    if image.width * height != image.height * width:
        raise UserError(
            f"Mask {file} is {image.width}x{image.height} pixels and the model's pictures are {width}x{height}; give one of "
            "the same proportions."
        )
    keep = np.asarray(image.resize((width, height), Image.Resampling.BOX)) < 128
    if keep.all():
        raise UserError(
            f"Mask {file} is black everywhere, which leaves nothing to draw; paint white what to draw anew."
        )
    return keep


def _open(file: Path) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} cannot be read as a picture ({error}); name a PNG or JPEG file.") from None
    ImageOps.exif_transpose(image, in_place=True)
    return image
