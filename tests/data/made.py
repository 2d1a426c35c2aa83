"""Small sources of data, made on the spot: a picture is its number in colour, a sentence its number in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stepladder.params import Params, build

CLASSES = ("boat", "cat")
DIGITS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "uk": ["нуль", "один", "два", "три", "чотири", "п'ять", "шість", "сім", "вісім", "дев'ять"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}


def image_params(source: Path | str, *, batch: int = 8, **images: Any) -> Params:
    return build(
        {
            "images": {"source": str(source), **images},
            "diffusion": {"training": {"batch_size": batch}},
            "feature_net": {"batch_size": batch},
        }
    )


def text_params(source: Path | str, **text: Any) -> Params:
    small = {"training": {"batch_size": 256}}
    return build({"text": {"source": str(source), "vocab_size": 100, **text}, "transformer": small})


def pixels(number: int, width: int = 12, height: int = 12) -> np.ndarray:
    """``(height, width, 3)``; pictures of different numbers differ."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(number: int, mode: str = "RGB", width: int = 12, height: int = 12) -> Image.Image:
    return Image.fromarray(pixels(number, width, height)).convert(mode)


def picture_folder(folder: Path, count: int = 60, classes: Sequence[str] = CLASSES) -> Path:
    """``folder`` with ``count`` pictures, dealt to subfolders of ``classes``, or flat where there are none."""
    for number in range(count):
        home = folder / classes[number % len(classes)] if classes else folder
        home.mkdir(parents=True, exist_ok=True)
        picture(number).save(home / f"{number:03}.png")
    return folder


def sentence(number: int, language: str) -> str:
    return " ".join(DIGITS[language][int(digit)] for digit in f"{number:03}")


def pair_lines(suffix: str, count: int = 200, languages: Sequence[str] = ("en", "uk")) -> list[str]:
    """Lines of a pair file; those of a tsv come without a header."""
    rows = [{language: sentence(number, language) for language in languages} for number in range(count)]
    if suffix == ".jsonl":
        return [json.dumps(row, ensure_ascii=False) for row in rows]
    return ["\t".join(row.values()) for row in rows]


def pair_file(file: Path, lines: Iterable[str | bytes] | None = None) -> Path:
    encoded = [line if isinstance(line, bytes) else line.encode() for line in (lines or pair_lines(file.suffix))]
    file.write_bytes(b"\n".join(encoded) + b"\n")
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))
