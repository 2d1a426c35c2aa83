"""Pictures in prepared form: memory-mapped uint8 arrays, their classes, and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from stepladder.data import pictures
from stepladder.data.bad_rows import BadRows
from stepladder.data.card import prepared, read_card
from stepladder.data.pictures import Pictures
from stepladder.errors import UserError
from stepladder.params import ImageData, Params

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
KNOWN_MODES = {"1": "L", "L": "L", "LA": "L", "P": "RGB", "RGB": "RGB", "YCbCr": "RGB", "CMYK": "RGB", "RGBA": "RGBA"}
FEWEST_HELD_OUT = 10


@dataclass(frozen=True)
class ImageArrays:
    """A prepared split: ``images`` ``(N, C, H, W)`` uint8 and ``labels`` ``(N,)`` int64 (-1 without classes), mapped."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    card: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, split: str) -> ImageArrays:
        """The ``split`` ("train" or "test") prepared in ``folder``; ``UserError`` where nothing is prepared."""
        card = read_card(folder)
        return cls(
            np.load(folder / f"{split}_images.npy", mmap_mode="r"), np.load(folder / f"{split}_labels.npy"), card
        )


def prepare(params: Params, folder: Path) -> dict[str, Any]:
    """Prepare the pictures that ``params.images`` names, in ``folder``; returns the card.

    Files: ``SPLIT_images.npy`` uint8 ``(N, C, H, W)``, ``SPLIT_labels.npy`` int64 ``(N,)`` for train and test, and
    ``card.json``. Pictures are read one at a time, so memory does not grow with their number. The same source gives the
    same bytes.

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, or too few rows.
    """
    images = params.images
    bad = BadRows(images.on_bad_row, "images.on_bad_row")
    source = pictures.read(images)
    if "train" not in source.splits:
        raise UserError(f"{images.source} has no split named train; it has {', '.join(source.splits)}.")
    splits = {name: source.splits[name] for name in ("train", "test") if name in source.splits}
    convert, shape, good = _inspect(splits, images, bad)
    rows = _split(splits, good, images, params.seed)
    batch = max(params.diffusion.training.batch_size, params.feature_net.batch_size)
    for name, least in (("train", batch), ("test", FEWEST_HELD_OUT)):
        if len(rows[name][1]) < least:
            raise UserError(
                f"The {name} split has {len(rows[name][1])} pictures and needs at least {least}"
                f"{' (a batch)' if name == 'train' else ''}; give more pictures, or a smaller batch."
            )
    card: dict[str, Any] = {
        "kind": "images",
        "name": source.name,
        "source": source.origin,
        "licence": source.licence,
        "counts": {name: len(numbers) for name, (_, numbers) in rows.items()},
        "shape": list(shape),
        "classes": source.classes,
        "set_aside": bad.card(),
    }
    with prepared(folder, card) as fresh:
        for name, (split, numbers) in rows.items():
            array = np.lib.format.open_memmap(
                fresh / f"{name}_images.npy", mode="w+", dtype=np.uint8, shape=(len(numbers), *shape)
            )
            for i, number in enumerate(numbers):
                array[i] = convert(split.open(number))
            array.flush()
            labels = np.asarray(split.labels, dtype=np.int64)[numbers]
            np.save(fresh / f"{name}_labels.npy", labels)
            if name == "train":
                card["mean"], card["std"] = _statistics(array)
            del array
    return card


def _inspect(
    splits: dict[str, Pictures], images: ImageData, bad: BadRows
) -> tuple[Callable[[Image.Image], npt.NDArray[np.uint8]], tuple[int, int, int], dict[str, list[int]]]:
    """How to convert a picture, the shape it gets, and the rows of each split that can be."""
    kinds: dict[str, list[tuple[str, int, int] | None]] = {}
    for name, split in splits.items():
        kinds[name] = []
        for row in range(split.count):
            try:
                kinds[name].append(_kind(split.open(row), images))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                bad.add(name, row, f"undecodable picture ({str(error)[:80]})")
                kinds[name].append(None)
    counted = Counter(kind for rows in kinds.values() for kind in rows if kind)
    if not counted:
        raise UserError(f"images.source={images.source} has no picture that can be decoded.")
    usual = counted.most_common(1)[0][0]
    if len(counted) > 1 and images.on_bad_row == "refuse":
        name, row, kind = next((n, r, k) for n, ks in kinds.items() for r, k in enumerate(ks) if k and k != usual)
        raise UserError(
            f"Row {row} of {name}: mixed sizes: {_shown(kind)} where most pictures are {_shown(usual)} "
            f"({sum(counted.values()) - counted[usual]} such rows); set images.size and images.channels to bring them to one "
            "form, or images.on_bad_row=set-aside to do without."
        )
    good: dict[str, list[int]] = {}
    for name, rows in kinds.items():
        good[name] = [row for row, kind in enumerate(rows) if kind == usual]
        for row, kind in enumerate(rows):
            if kind and kind != usual:
                bad.add(name, row, f"mixed sizes ({_shown(kind)} where most are {_shown(usual)})")
    mode, width, height = usual
    channels = {m: c for c, m in MODES.items()}[mode]
    return partial(_array, mode=mode, size=images.size), (channels, height, width), good


def _kind(picture: Image.Image, images: ImageData) -> tuple[str, int, int]:
    """Mode, width and height that ``picture`` is brought to; decodes it, so that a damaged one is noticed."""
    picture.load()
    if picture.mode not in KNOWN_MODES:
        raise ValueError(f"pixels of mode {picture.mode}, not of 8 bits")
    mode = MODES[images.channels] if images.channels else KNOWN_MODES[picture.mode]
    width, height = (images.size, images.size) if images.size else picture.size
    return mode, width, height


def _array(picture: Image.Image, *, mode: str, size: int) -> npt.NDArray[np.uint8]:
    """``(C, H, W)``; with ``size``, scaled to cover a square of that side and cropped around the centre."""
    picture = picture.convert(mode)
    if size and picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _split(
    splits: dict[str, Pictures], good: dict[str, list[int]], images: ImageData, seed: int
) -> dict[str, tuple[Pictures, list[int]]]:
    """Row numbers of train and test; where there is no test, a share of each class is held out."""
    train, numbers = splits["train"], good["train"]
    order = np.random.default_rng(seed).permutation(numbers).tolist()
    if "test" in splits:
        test, held = splits["test"], good["test"]
    else:
        labels = np.asarray(train.labels)
        test, held = train, []
        for label in np.unique(labels[numbers]):
            of_class = [row for row in order if labels[row] == label]
            held += of_class[: max(1, round(len(of_class) * images.held_out))]
        chosen = set(held)
        order = [row for row in order if row not in chosen]
        held.sort()
    kept = sorted(order[: images.limit] if images.limit else order)
    return {"train": (train, kept), "test": (test, held)}


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of pixels scaled to [-1, 1]."""
    total = np.zeros((2, images.shape[1]))
    for start in range(0, len(images), 4096):
        x = images[start : start + 4096].astype(np.float64) / 127.5 - 1
        total += [x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))]
    mean, square = total / (images.size / images.shape[1])
    return [round(m, 6) for m in mean], [round(s, 6) for s in np.sqrt(square - mean**2)]


def _shown(kind: tuple[str, int, int]) -> str:
    return f"{kind[1]}x{kind[2]} {kind[0]}"
