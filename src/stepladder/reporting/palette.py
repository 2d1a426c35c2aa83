"""One colour and one marker a T, the same in every figure, on the page and in ``.dvc/plots``.

Colours are those of Okabe and Ito (2008), distinct for every common colour vision, on light and dark background;
the marker repeats the distinction for print in grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Style:
    """How the lines of one T are plotted (matplotlib's names for markers and dashes)."""

    colour: str
    marker: str
    dash: str


def styles(timesteps: Sequence[int]) -> dict[int, Style]:
    """A style for each T, assigned in ascending order; after six colours the dash changes."""
    return {
        t: Style(OKABE_ITO[i % 6], MARKERS[i % 6], DASHES[i // 6 % 4]) for i, t in enumerate(sorted(set(timesteps)))
    }
