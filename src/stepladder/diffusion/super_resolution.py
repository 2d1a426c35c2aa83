"""Super-resolution: large pictures drawn from small ones (Saharia et al. 2021; noise augmentation: Ho et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.errors import UserError
from stepladder.tasks.randomness import generator


def condition(low: Tensor, noise: float = 0.0, *, seed: int = 0) -> Condition:
    """The condition of small pictures ``low`` ``(N, C, h, w)`` in [-1, 1], without class and text.

    Noise of standard deviation ``noise`` is added to them, and the network gets that number: it then trusts them less,
    which hides how they differ from the small pictures of its training. The noise of picture i depends on (seed, i).

    Raises:
        UserError: ``noise`` is not in [0, 1].
    """
    if not 0 <= noise <= 1:
        raise UserError(f"Noise of {noise:g} given for the small pictures; it is from 0 to 1.")
    levels = torch.full((len(low),), noise)
    if noise:
        random = [torch.randn(low.shape[1:], generator=generator(seed, i, 1)) for i in range(len(low))]
        low = low + noise * torch.stack(random)
    return {"low_resolution": low, "low_resolution_noise": levels}


def low_resolution(x_0: Tensor, side: int) -> Tensor:
    """``(N, C, H, W)`` average-pooled to ``(N, C, side, side W / H)``."""
    return F.adaptive_avg_pool2d(x_0, sides_of(x_0, side))


def sides_of(pictures: Tensor, side: int) -> tuple[int, int]:
    """Height and width that ``pictures`` ``(N, C, H, W)`` have when their height is ``side``."""
    return side, side * pictures.shape[3] // pictures.shape[2]


def enlarged(low: Tensor, height: int, width: int, how: str) -> Tensor:
    """``low`` ``(N, C, h, w)`` resized to ``(N, C, height, width)`` without a model, by "nearest" or "bicubic"."""
    smooth = {"align_corners": False, "antialias": True} if how == "bicubic" else {}
    return F.interpolate(low, size=(height, width), mode=how, **smooth).clamp(-1, 1)


def sides(description: DiffusionDescription) -> tuple[int, int]:
    """Height and width of the small pictures that the model enlarges; ``UserError`` where it enlarges none."""
    side = description.model.low_resolution
    if not side:
        raise UserError(
            "The model enlarges no pictures; train one with diffusion.low_resolution, such as preset super-resolution."
        )
    _, height, width = description.model.shape
    return side, side * width // height
