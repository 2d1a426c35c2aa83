"""Pictures embedded in a page: figures for a light and a dark background, and strips of samples."""

from __future__ import annotations

import struct
from pathlib import Path

from stepladder.reporting.markup import Markup, data_uri, element

DISPLAYED = 430  # CSS pixels: a narrower strip is enlarged by an integer factor


def figure(reports: Path, name: str, description: str, caption: str | None = None) -> Markup | None:
    """A figure for a light and a dark background; ``None`` where it was not plotted."""
    light, dark = (reports / "figures" / ground / f"{name}.png" for ground in ("", "dark"))
    if not light.exists():
        return None
    source = (
        element("source", srcset=data_uri(dark), media="screen and (prefers-color-scheme: dark)")
        if dark.exists()
        else None
    )
    picture = element("picture", source, element("img", src=data_uri(light), alt=description))
    return element(
        "figure", element("div", picture, class_="scroll"), element("figcaption", caption) if caption else None
    )


def strip(file: Path, description: str) -> Markup:
    """The pictures in the PNG ``file``, which a click enlarges."""
    width, height = _size(file)
    picture = element(
        "img", src=data_uri(file), width=width, height=height, loading="lazy", alt=description,
        class_="pixels" if width < DISPLAYED else None,
    )  # fmt: skip
    return element("button", picture, type="button")


def _size(png: Path) -> tuple[int, int]:
    with png.open("rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:24])
    return width, height
