"""The sides of pictures: their name in messages, and how often they can be halved."""

from __future__ import annotations

from collections.abc import Sequence

Sides = tuple[int, int]


def square(size: int) -> tuple[Sides, str]:
    """The sides that ``images.size`` sets, and their name in messages."""
    return (size, size), f"images.size={size}"


def halved(sides: Sides, times: int, key: str, value: Sequence[int], named: str) -> None:
    """Check that ``sides`` can be halved ``times`` times, as ``key`` requires."""
    if any(side % 2**times for side in sides):
        raise ValueError(
            f"Pictures of {named} cannot be halved {times} times; set images.size to a multiple of {2**times}, or shorten "
            f"{key}={list(value)}"
        )
