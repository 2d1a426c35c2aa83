"""Where pictures come from: a package, a hub data set, or the user's folder."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stepladder import plugins
from stepladder.data import hub
from stepladder.data.source import local
from stepladder.errors import UserError
from stepladder.params import ImageData
from stepladder.params.data import NAME, SOURCE

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}


@dataclass(frozen=True)
class Pictures:
    """Pictures of one split, opened one at a time.

    Attributes:
        count: pictures.
        open: the i-th picture; raises ``OSError``, ``SyntaxError`` or ``ValueError`` where it cannot be decoded.
        labels: class numbers, ``(count,)``; -1 where there is no class.
        where: the i-th picture's file, where it is one.
        texts: as they stand in their column, ``(count,)``; empty where none is named.
    """

    count: int
    open: Callable[[int], Image.Image]
    labels: Sequence[int]
    where: Callable[[int], str] = lambda i: ""
    texts: Sequence[str | None] = ()


@dataclass(frozen=True)
class PictureSource:
    """The splits of a picture data set ("train", and "test" where it has one), and where they come from."""

    name: str
    origin: str
    licence: str
    classes: list[str]
    splits: dict[str, Pictures]
    note: str = ""  # what readers of figures must know of the rows


def read(images: ImageData) -> PictureSource:
    """The pictures that ``images.source`` names; raises ``UserError`` where it names none."""
    own = None if images.source == "digits" else local(images.source)
    if images.text_column and (images.source == "digits" or own):
        raise UserError(
            f"images.text_column={images.text_column}: {images.source} has pictures and classes, but no columns of text; name a "
            "Hugging Face data set that has, or leave text_column empty."
        )
    if images.source == "digits":
        source = _digits()
    elif own and own.is_dir():
        source = _folder(own)
    elif own is None and plugins.is_custom(images.source):
        source = _own(images)
    elif own:
        raise UserError(f"images.source={images.source} is a file; name a folder of pictures.")
    else:
        source = _hub(images)
    splits = {SPLITS.get(name, name): split for name, split in source.splits.items()}
    if "train" not in splits:
        raise UserError(f"images.source={images.source} has no split named train; it has {', '.join(source.splits)}.")
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits["validation"]
    wanted = {name: split for name, split in splits.items() if name in ("train", "test")}
    return PictureSource(source.name, source.origin, source.licence, source.classes, wanted, source.note)


def _digits() -> PictureSource:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pictures = Pictures(len(grey), lambda i: Image.fromarray(grey[i]), digits.target.tolist())
    return PictureSource(
        "digits", "scikit-learn (UCI optical recognition of handwritten digits, test part)", "CC-BY-4.0",
        [str(d) for d in range(10)], {"train": pictures},
    )  # fmt: skip


def _own(images: ImageData) -> PictureSource:
    """What the user's function reads, checked as far as the first picture of each split."""
    try:
        source = SOURCE.find(images.source)(images)
        if not isinstance(source, PictureSource):
            raise plugins.Unfit(f"it gives {type(source).__name__}")
        if not re.match(NAME, source.name or "."):
            raise plugins.Unfit(f"its name {source.name!r} is none that data can have")
        for name, split in source.splits.items():
            lengths = {split.count, len(split.labels), len(split.texts) if images.text_column else split.count}
            if len(lengths) > 1 or not split.count:
                raise plugins.Unfit(
                    f"its split {name} has {split.count} pictures, {len(split.labels)} labels, {len(split.texts)} texts"
                )
            if not isinstance(split.open(0), Image.Image):
                raise plugins.Unfit(f"the split {name} opens a {type(split.open(0)).__name__}, no PIL picture")
    except UserError:
        raise
    except Exception as error:
        why = str(error) if isinstance(error, plugins.Unfit) else f"it ended with {type(error).__name__}: {error}"
        raise UserError(f"{SOURCE.key}={images.source}: {why}; it must be {SOURCE.wanted}.") from None
    return source


def _folder(folder: Path) -> PictureSource:
    """One subfolder a class, or pictures side by side and no classes; or such a folder for each of train and test."""
    parts = {p.name: p for p in _visible(folder) if p.is_dir()}
    homes = parts if "train" in parts and set(parts) <= set(SPLITS) else {"train": folder}
    classes = sorted({p.name for home in homes.values() for p in _visible(home) if p.is_dir()})
    splits = {name: _files(home, classes) for name, home in homes.items()}
    empty = set(range(len(classes))) - set(splits["train"].labels)
    if empty:
        raise UserError(
            f"{classes[min(empty)]} in {folder} is taken for a class and has no training pictures; remove it."
        )
    return PictureSource(folder.resolve().name, f"folder {folder.resolve().name}", "the user's own", classes, splits)


def _files(folder: Path, classes: list[str]) -> Pictures:
    """All files of ``folder``, a row each, also those that turn out to be no pictures."""
    if classes:
        loose_files = [p.name for p in _visible(folder) if p.is_file()]
        if loose_files:
            raise UserError(
                f"Folder {folder} holds folders, which are taken for classes, and files beside them ({loose_files[0]}); "
                "put every picture in the folder of its class."
            )
        labelled_files = [(file, i) for i, name in enumerate(classes) for file in _deep(folder / name)]
    else:
        labelled_files = [(file, -1) for file in _deep(folder)]
    if not labelled_files:
        raise UserError(f"Folder {folder} holds no files; images.source must name a folder of pictures.")
    return Pictures(
        len(labelled_files),
        lambda i: Image.open(labelled_files[i][0], formats=FORMATS),
        [label for _, label in labelled_files],
        lambda i: str(labelled_files[i][0].relative_to(folder)),
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _deep(folder: Path) -> list[Path]:
    return [file for p in _visible(folder) for file in (_deep(p) if p.is_dir() else [p])]


def _hub(images: ImageData) -> PictureSource:
    import datasets

    data = hub.load(images.source, images.config, images.revision)
    columns = next(iter(data.values())).features
    for key in ("image_column", "label_column", "text_column"):
        name = getattr(images, key)
        if name and name not in columns:
            raise UserError(f"images.{key}={name}: {images.source} has the columns {', '.join(columns)}.")
    picture = images.image_column or _only(columns, datasets.Image, "picture", images, "image_column")
    if not isinstance(columns[picture], datasets.Image):
        raise UserError(f"images.image_column={picture} of {images.source} holds no pictures but {columns[picture]}.")
    text = images.text_column
    if text and getattr(columns[text], "dtype", "") not in ("string", "large_string"):
        raise UserError(f"images.text_column={text} of {images.source} holds no texts but {columns[text]}.")
    label = images.label_column
    if not label and any(isinstance(kind, datasets.ClassLabel) for kind in columns.values()):
        label = _only(columns, datasets.ClassLabel, "class", images, "label_column")
    classes = _classes(data, columns[label], label) if label else []
    number = {name: i for i, name in enumerate(classes)}
    splits = {}
    for split, rows in data.items():
        raw = rows.select_columns([picture]).cast_column(picture, datasets.Image(decode=False))
        labels = list(rows[label]) if label else [-1] * len(rows)
        if label and isinstance(columns[label], datasets.ClassLabel):
            labels = [-1 if value is None else value for value in labels]
        elif label:
            labels = [-1 if value is None else number[str(value)] for value in labels]
        texts = list(rows[text]) if text else []
        splits[split] = Pictures(len(rows), lambda i, raw=raw: _open(raw[i][picture]), labels, texts=texts)  # type: ignore[misc]
    origin = f"Hugging Face data set {images.source}"
    return PictureSource(
        images.source.split("/")[-1], origin, hub.licence(images.source), classes, splits, hub.note(images.source)
    )


def _classes(data: Any, column: Any, label: str) -> list[str]:
    """Names of the classes: the column's own, or its values in order."""
    if getattr(column, "names", None):
        return list(column.names)
    values = {value for rows in data.values() for value in rows.unique(label) if value is not None}
    if not all(isinstance(value, (str, int)) for value in values):
        raise UserError(f"images.label_column={label} holds {column}, not classes; name a column of names or numbers.")
    return [str(value) for value in sorted(values)]


def _only(columns: Any, kind: type, what: str, images: ImageData, key: str) -> str:
    names: list[str] = [name for name, column in columns.items() if isinstance(column, kind)]
    if len(names) != 1:
        raise UserError(
            f"Data set {images.source} has {len(names)} {what} columns ({', '.join(names) or 'none'}) among "
            f"{', '.join(columns)}; name the one to use in images.{key}."
        )
    return names[0]


def _open(cell: Any) -> Image.Image:
    if cell is None:
        raise ValueError("no picture")
    return Image.open(io.BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"], formats=FORMATS)
