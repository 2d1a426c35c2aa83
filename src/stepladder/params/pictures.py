"""Checks of sides and batches for trainings on pictures; the sides come from parameters or from prepared data.

Each check raises ``ValueError`` with the key, the value and what helps. ``named``: what the message calls the pictures.
"""

from __future__ import annotations

from stepladder.params.diffusion import Diffusion
from stepladder.params.section import Training
from stepladder.params.sides import Sides


def network(d: Diffusion, sides: Sides, named: str) -> None:
    """Check that the denoising network can halve ``sides`` (height, width) or cut them into patches."""
    if d.network:
        d.network.fits(sides, named)


def smaller(d: Diffusion, sides: Sides, named: str) -> None:
    """Check that the curriculum and the low resolution are smaller pictures of the same proportions."""
    height, width = sides
    for name, wanted in (("curriculum", d.curriculum), ("low_resolution", [d.low_resolution] * bool(d.low_resolution))):
        for side in wanted:
            if side >= height:
                raise ValueError(f"diffusion.{name} has a side of {side} for pictures of {named}; give a smaller one")
            if side * width % height:
                raise ValueError(
                    f"diffusion.{name} has a side of {side} for pictures of {named}; give one of which the width is a whole "
                    "number too"
                )
            if name == "curriculum":
                network(d, (side, side * width // height), f"{side}x{side * width // height} (diffusion.curriculum)")


def batch(key: str, training: Training, devices: int = 1) -> None:
    """Check that a batch divides into micro-batches, and these among ``devices``; ``key`` is the training's section."""
    parts = training.accumulate * devices
    if training.batch_size % parts:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} cannot be divided into accumulate={training.accumulate} micro-batches"
            f"{f' for {devices} devices' if devices > 1 else ''}; make it a multiple of {parts}"
        )


def filled(key: str, training: Training, count: int) -> None:
    """Check that ``count`` pictures fill a batch."""
    if count < training.batch_size:
        raise ValueError(
            f"{key}.batch_size={training.batch_size} and {count} pictures to learn from; give more pictures, or a smaller "
            f"{key}.batch_size"
        )
