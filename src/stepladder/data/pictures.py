"""Where pictures come from: a package, a hub data set, or a folder of one's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stepladder.data import hub
from stepladder.errors import UserError
from stepladder.params import ImageData

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class Pictures:
    """Pictures of one split, opened one at a time.

    Attributes:
        count: pictures.
        open: the i-th picture; raises ``OSError`` or ``ValueError`` where it cannot be decoded.
        labels: class numbers, ``(count,)``; -1 where there are no classes.
    """

    count: int
    open: Callable[[int], Image.Image]
    labels: Sequence[int]


@dataclass(frozen=True)
class PictureSource:
    """The splits of a picture data set ("train", and "test" where it has one), and where they come from."""

    name: str
    origin: str
    licence: str
    classes: list[str]
    splits: dict[str, Pictures]


def read(images: ImageData) -> PictureSource:
    """The pictures that ``images.source`` names."""
    if images.source == "digits":
        return _digits()
    if Path(images.source).is_dir():
        return _folder(Path(images.source))
    return _hub(images)


def _digits() -> PictureSource:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pictures = Pictures(len(grey), lambda i: Image.fromarray(grey[i]), digits.target.tolist())
    return PictureSource(
        "digits", "scikit-learn (UCI optical recognition of handwritten digits, test part)", "CC-BY-4.0",
        [str(d) for d in range(10)], {"train": pictures},
    )  # fmt: skip


def _folder(folder: Path) -> PictureSource:
    """One subfolder a class; or pictures side by side, and no classes."""
    classes = sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    homes = [folder / name for name in classes] or [folder]
    files = [
        (file, label if classes else -1)
        for label, home in enumerate(homes)
        for file in sorted(home.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise UserError(f"images.source={folder} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    pictures = Pictures(len(files), lambda i: Image.open(files[i][0]), [label for _, label in files])
    return PictureSource(folder.resolve().name, f"folder {folder.name}", "the user's own", classes, {"train": pictures})


def _hub(images: ImageData) -> PictureSource:
    import datasets

    data = hub.load(images.source, images.config)
    columns = next(iter(data.values())).features
    picture = images.image_column or _only(
        [name for name, kind in columns.items() if isinstance(kind, datasets.Image)], "picture", images, "image_column"
    )
    label = images.label_column or next(
        (name for name, kind in columns.items() if isinstance(kind, datasets.ClassLabel)), ""
    )
    for name, key in ((picture, "image_column"), (label, "label_column")):
        if name and name not in columns:
            raise UserError(f"images.{key}={name}: {images.source} has the columns {', '.join(columns)}.")
    classes = _classes(data, columns, label)
    number = {name: i for i, name in enumerate(classes)}
    splits = {}
    for split, rows in data.items():
        raw = rows.cast_column(picture, datasets.Image(decode=False))
        labels = rows[label] if label else [-1] * len(rows)
        if label and not isinstance(columns[label], datasets.ClassLabel):
            labels = [number[str(value)] for value in labels]
        splits[split] = Pictures(len(rows), lambda i, raw=raw: _decode(raw[i][picture]), labels)  # type: ignore[misc]
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits["validation"]
    licence = next(iter(data.values())).info.license or "not stated"
    return PictureSource(
        images.source.split("/")[-1], f"Hugging Face data set {images.source}", licence, classes, splits
    )


def _classes(data: Any, columns: Any, label: str) -> list[str]:
    if not label:
        return []
    named = getattr(columns[label], "names", None)
    if named:
        return list(named)
    return sorted({str(value) for rows in data.values() for value in rows.unique(label)})


def _only(names: list[str], what: str, images: ImageData, key: str) -> str:
    if len(names) != 1:
        raise UserError(
            f"Data set {images.source} has {len(names)} {what} columns ({', '.join(names) or 'none'}); "
            f"name the one to use in images.{key}."
        )
    return names[0]


def _decode(cell: Any) -> Image.Image:
    if cell is None:
        raise ValueError("no picture")
    return Image.open(io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"])
