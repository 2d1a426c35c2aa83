"""HTML that escapes by default: text inside an element is escaped, an element inside an element is not."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path


class Markup(str):
    """A string that is HTML already."""


Content = str | Markup | Iterable["Content"] | None
VOID = ("img", "source", "br")


def element(tag: str, *children: Content, **attributes: str | int | bool | None) -> Markup:
    """``<tag ...>children</tag>``; escapes strings, omits ``None``; ``class_``, ``data_x``: ``class``, ``data-x``."""
    attribute_text = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{tag}{attribute_text}>" if tag in VOID else f"<{tag}{attribute_text}>{join(children)}</{tag}>")


def join(content: Content) -> Markup:
    """One piece of HTML from strings (escaped), HTML and lists of both."""
    if content is None:
        return Markup("")
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(content))
    return Markup("".join(join(part) for part in content))


def table(head: Iterable[Content], *bodies: Iterable[Iterable[Content]], class_: str | None = None) -> Markup:
    """A table in a box that scrolls sideways where it is too wide; a cell that is not ``<td>`` or ``<th>`` becomes ``<td>``."""
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", [_cell("th", cell, scope="col") for cell in head])),
            [element("tbody", [element("tr", [_cell("td", cell) for cell in row]) for row in body]) for body in bodies],
            class_=class_,
        ),
        class_="scroll",
    )


def number(text: Content, sort: float | None = None, **attributes: str) -> Markup:
    """A right-aligned cell of figures; ``sort`` is the value by which its column is ordered."""
    return element("td", text, class_="number", data_sort=None if sort is None else repr(sort), **attributes)


def data_uri(path: Path) -> str:
    """A PNG as a ``data:`` address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _cell(tag: str, content: Content, **attributes: str) -> Markup:
    is_cell = isinstance(content, Markup) and content.startswith(("<td", "<th"))
    return join(content) if is_cell else element(tag, content, **attributes)
