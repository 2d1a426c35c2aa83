"""Prepares pictures: uint8 arrays, their classes, and a card; ``image_arrays`` reads them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from stepladder.data import texts
from stepladder.data.card import PicturesCard, held_out_hash, prepared
from stepladder.data.preparing import pictures
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.preparing.pictures import Pictures, PictureSource
from stepladder.data.source import check_watchable, reading
from stepladder.data.texts import clean
from stepladder.errors import UserError
from stepladder.params import ImageData, Params

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
EIGHT_BITS = {"1": "L", "L": "L", "LA": "RGBA", "PA": "RGBA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"} | dict.fromkeys(
    ("YCbCr", "CMYK", "LAB", "HSV"), "RGB"
)
FEWEST_HELD_OUT = 10
FEWEST_OWN_HELD_OUT = 4  # of twenty pictures, a fifth

Kind = tuple[str, int, int]  # mode, width, height


def prepare(params: Params, folder: Path) -> PicturesCard:
    """Prepare the pictures that ``params.images`` names, in ``folder``, as ``prepared_from`` does; returns the card."""
    fewest = {"train": (1, "to learn from"), "test": (FEWEST_HELD_OUT, "to judge by")}
    return prepared_from(params.images, params.seed, folder, fewest, "give more pictures")


def prepare_own(params: Params, shape: Sequence[int], folder: Path) -> PicturesCard:
    """Prepare the pictures that ``params.adaptation.pictures`` names, in ``folder``, for a model of ``shape`` (C, H, W).

    Raises:
        UserError: there is no such folder, or as ``prepared_from``.
    """
    section = params.adaptation
    if not Path(section.pictures).is_dir():
        raise UserError(
            f"adaptation.pictures={section.pictures} is no folder; name one with pictures of your own, or with one subfolder a "
            "class."
        )
    check_watchable(Path(section.pictures), "adaptation.pictures")
    images = ImageData(source=section.pictures, held_out=section.held_out, on_bad_row=params.images.on_bad_row)
    fewest = {"train": (FEWEST_HELD_OUT, "to learn from"), "test": (FEWEST_OWN_HELD_OUT, "to judge by")}
    channels, height, width = shape
    form = MODES[channels], width, height
    return prepared_from(
        images, params.seed, folder, fewest, "give more pictures, or another adaptation.held_out", form
    )


def prepared_from(
    images: ImageData,
    seed: int,
    folder: Path,
    fewest: dict[str, tuple[int, str]],
    remedy: str,
    form: Kind | None = None,
) -> PicturesCard:
    """Prepare the pictures that ``images`` names, in ``folder``; returns the card.

    Files: ``SPLIT_images.npy`` uint8 ``(N, C, H, W)``, ``SPLIT_labels.npy`` int64 ``(N,)`` for train and test, what
    ``texts.write`` adds where there are texts, and ``card.json``. Pictures are read one at a time, so memory does not grow
    with their number. The same source gives the same bytes.

    Args:
        fewest: rows that each split must have, and what for; remedy: what to do where it has fewer.
        form: to which all pictures are brought; None: as ``images`` says.

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, or too few rows.
    """
    bad = BadRows(images.on_bad_row, "images.on_bad_row")
    fingerprint = reading("images", images)
    source = pictures.read(images)
    kind, good = _inspect(source, images, bad, form)
    bad.check_refused()
    rows = _split(source.splits, good, images, seed)
    for name, (least, why) in fewest.items():
        _check_count(name, len(rows[name][1]), least, why, remedy, bad)
    shape = _shape(kind)
    card: PicturesCard = {
        "kind": "images",
        "name": images.name or source.name,
        "source": source.origin,
        "licence": source.licence,
        "counts": {name: len(numbers) for name, (_, numbers) in rows.items()},
        "shape": list(shape),
        "classes": source.classes,
        "set_aside": bad.card(),
    }
    if source.note:
        card["note"] = source.note
    with prepared(folder, card, sum(card["counts"].values()) * math.prod(shape), fingerprint) as fresh:
        for name, (split, numbers) in rows.items():
            array = _write_pictures(fresh / f"{name}_images.npy", split, numbers, kind)
            np.save(fresh / f"{name}_labels.npy", np.asarray(split.labels, dtype=np.int64)[numbers])
            if name == "train":
                card["mean"], card["std"] = _statistics(array)
                card["sigma_data"] = _sigma_data(card["mean"], card["std"])
            else:
                held_classes = [source.classes[split.labels[number]] if source.classes else "" for number in numbers]
                held_texts = [clean(split.texts[number]) for number in numbers] if images.text_column else []
                card["held_out_hash"] = held_out_hash(array, held_classes, held_texts)
            del array
        if images.text_column:
            cleaned = {
                name: [clean(split.texts[number]) for number in numbers] for name, (split, numbers) in rows.items()
            }
            card["text"] = texts.write(fresh, cleaned, images.text_column, images.text_vocab_size, images.text_length)
    return card


def _inspect(
    source: PictureSource, images: ImageData, bad: BadRows, form: Kind | None
) -> tuple[Kind, dict[str, list[int]]]:
    """The form that most pictures have or are brought to, and the rows of each split that have it; other rows are bad."""
    kinds: dict[str, list[Kind | None]] = {}
    for name, split in source.splits.items():
        kinds[name] = [None] * split.count
        for row in range(split.count):
            if source.classes and not 0 <= split.labels[row] < len(source.classes):
                bad.add(name, row, "no class")
                continue
            if split.texts:
                try:
                    clean(split.texts[row])
                except ValueError as error:
                    bad.add(name, row, str(error))
                    continue
            try:
                as_read = _kind(_decoded(split, row), images)
                kinds[name][row] = form or as_read
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                bad.add(name, row, f"undecodable picture ({split.where(row) or _reason(error)})")
    counts = Counter(kind for rows in kinds.values() for kind in rows if kind)
    if not counts:
        raise UserError(f"images.source={images.source} has no picture that can be decoded.")
    common = max(counts, key=lambda kind: (counts[kind], kind))
    for name, rows in kinds.items():
        for row, kind in enumerate(rows):
            if kind and kind != common:
                file = source.splits[name].where(row)
                bad.add(
                    name,
                    row,
                    f"mixed sizes ({file + ' is ' if file else ''}{_described(kind)} where {counts[common]} pictures are "
                    f"{_described(common)}; images.size and images.channels bring all to one form)",
                )
    return common, {name: [row for row, kind in enumerate(rows) if kind == common] for name, rows in kinds.items()}


def _check_count(split: str, count: int, least: int, why: str, remedy: str, bad: BadRows) -> None:
    if count < least:
        raise UserError(
            f"The {split} split has {count} pictures{bad.note()} and needs at least {least} ({why}); {remedy}."
        )


def _write_pictures(file: Path, split: Pictures, numbers: Sequence[int], kind: Kind) -> npt.NDArray[np.uint8]:
    """Rows ``numbers`` of ``split`` in ``file``, one at a time; returns what is in it, ``(N, C, H, W)``, mapped into memory."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(len(numbers), *_shape(kind)))
    for i, number in enumerate(numbers):
        array[i] = to_array(_decoded(split, number), kind)
    array.flush()
    return array


def _shape(kind: Kind) -> tuple[int, int, int]:
    """(C, H, W) of pictures of this form."""
    mode, width, height = kind
    return next(channels for channels, known in MODES.items() if known == mode), height, width


def _decoded(split: Pictures, row: int) -> Image.Image:
    """Picture ``row``, decoded, so that a damaged one is noticed, and upright."""
    picture = split.open(row)
    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


def _kind(picture: Image.Image, images: ImageData) -> Kind:
    """The form that ``picture`` is brought to."""
    if picture.mode not in EIGHT_BITS:
        raise ValueError(f"pixels of mode {picture.mode}, not of 8 bits")
    as_it_is = "RGBA" if "transparency" in picture.info else EIGHT_BITS[picture.mode]
    width, height = (images.size, images.size) if images.size else picture.size
    return MODES[images.channels] if images.channels else as_it_is, width, height


def to_array(
    picture: Image.Image, kind: Kind, resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> npt.NDArray[np.uint8]:
    """``(C, H, W)``: scaled to cover that size and cropped around the centre; transparent parts become white."""
    mode, width, height = kind
    if mode != "RGBA" and ("transparency" in picture.info or EIGHT_BITS[picture.mode] == "RGBA"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert(mode)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), resampling)
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _split(
    splits: dict[str, Pictures], good: dict[str, list[int]], images: ImageData, seed: int
) -> dict[str, tuple[Pictures, list[int]]]:
    """Row numbers of train and test; where there is no test, a share of each class is held out."""
    train = splits["train"]
    order = np.random.default_rng(seed).permutation(good["train"]).tolist()
    if "test" in splits:
        test, held_out = splits["test"], good["test"]
    else:
        by_class: dict[int, list[int]] = {}
        for row in order:
            by_class.setdefault(train.labels[row], []).append(row)
        test = train
        held_out = []
        for rows in by_class.values():
            share = max(1, round(len(rows) * images.held_out))
            held_out += rows[: min(share, len(rows) - 1)]  # a class's only picture is for training
        held_out.sort()
        chosen = set(held_out)
        order = [row for row in order if row not in chosen]
    return {"train": (train, sorted(order[: images.limit or None])), "test": (test, held_out)}


def _statistics(images: npt.NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of pixels scaled to [-1, 1]; exact, by counting."""
    counts = np.zeros((images.shape[1], 256), dtype=np.int64)
    step = max(1, (1 << 24) // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + step, channel].ravel(), minlength=256)
    x = np.arange(256) / 127.5 - 1
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ x
    std = np.sqrt(share @ (x * x) - mean**2)
    return [round(float(m), 6) for m in mean], [round(float(s), 6) for s in std]


def _sigma_data(mean: list[float], std: list[float]) -> float:
    """Standard deviation over all channels together: sigma_data of Karras et al. (2022)."""
    return round(float(np.sqrt(np.mean(np.square(std)) + np.var(mean))), 6)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:80]


def _described(kind: Kind) -> str:
    return f"{kind[1]}x{kind[2]} {kind[0]}"
