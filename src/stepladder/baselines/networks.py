"""The two halves of both baselines: from pictures to features, and from a code to pictures.

Residual blocks as in Mescheder et al. (2018), appendix H, of the same widths and depth in both, so that an autoencoder
and an adversarial pair of one size differ in their losses and not in their networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder.errors import UserError


class Down(nn.Module):
    """Activation, 3x3, activation, 3x3, then the side halved; plus the input, projected to the same shape.

    ``normalised`` puts a group normalisation before each activation.
    """

    def __init__(self, channels: int, out: int, normalised: bool) -> None:
        super().__init__()
        self.norm_in = _norm(channels) if normalised else nn.Identity()
        self.norm_out = _norm(out) if normalised else nn.Identity()
        self.conv_in, self.conv_out = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, channels, H, W)`` to ``(N, out, H / 2, W / 2)``."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = F.avg_pool2d(self.conv_out(F.silu(self.norm_out(h))), 2)
        result: Tensor = (self.skip(F.avg_pool2d(x, 2)) + h) * math.sqrt(0.5)
        return result


class Up(nn.Module):
    """The side doubled, then norm, activation, 3x3, twice, both norms scaled and shifted; plus the input."""

    def __init__(self, channels: int, out: int, code: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = _norm(channels), _norm(out)
        self.conv_in, self.conv_out = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1, bias=False) if channels != out else nn.Identity()
        self.modulation = nn.Linear(code, 2 * channels + 2 * out)
        self.widths = [channels, channels, out, out]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x: ``(N, channels, H, W)``; code: ``(N, code)``; gives ``(N, out, 2 H, 2 W)``."""
        scale_in, shift_in, scale_out, shift_out = self.modulation(code)[:, :, None, None].split(self.widths, dim=1)
        h = F.silu(torch.addcmul(shift_in, self.norm_in(x), 1 + scale_in))
        h = self.conv_in(F.interpolate(h, scale_factor=2, mode="nearest"))
        h = self.conv_out(F.silu(torch.addcmul(shift_out, self.norm_out(h), 1 + scale_out)))
        result: Tensor = (self.skip(F.interpolate(x, scale_factor=2, mode="nearest")) + h) * math.sqrt(0.5)
        return result


class Downward(nn.Module):
    """From pictures to features: a 3x3 convolution, then one ``Down`` a level.

    Args:
        shape: (C, H, W) of a picture; channels, channel_mult: those of the levels; normalised: see ``Down``.

    Attributes:
        width: dimension of the features.

    Raises:
        UserError: the sides cannot be halved as often as there are levels.
    """

    def __init__(self, shape: Sequence[int], channels: int, channel_mult: Sequence[int], normalised: bool) -> None:
        super().__init__()
        smallest = _smallest(shape, channel_mult)
        widths = [channels, *(channels * mult for mult in channel_mult)]
        self.stem = nn.Conv2d(shape[0], channels, 3, padding=1)
        self.levels = nn.Sequential(*(Down(a, b, normalised) for a, b in pairwise(widths)))
        self.width = widths[-1] * math.prod(smallest)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, width)``."""
        h = self.levels(self.stem(x.contiguous(memory_format=torch.channels_last)))
        return F.silu(h).flatten(1)


class Upward(nn.Module):
    """From a code and a class to pictures: a linear map to the smallest size, then one ``Up`` a level, mirrored.

    The code, with the class's embedding appended, also scales and shifts every block's norms (Chen et al. 2019,
    self-modulation).

    Args:
        shape: (C, H, W) of the output; channels, channel_mult: those of the levels, the largest picture's first;
        latent: dimension of the code; classes: their number, 0: unconditional.

    Raises:
        UserError: the sides cannot be halved as often as there are levels.
    """

    def __init__(
        self, shape: Sequence[int], channels: int, channel_mult: Sequence[int], latent: int, classes: int
    ) -> None:
        super().__init__()
        height, width = _smallest(shape, channel_mult)
        widths = [*(channels * mult for mult in reversed(channel_mult)), channels]
        self.smallest = (widths[0], height, width)
        self.label = nn.Embedding(classes, latent) if classes else None
        code = 2 * latent if classes else latent
        self.stem = nn.Linear(code, math.prod(self.smallest))
        self.levels = nn.ModuleList(Up(a, b, code) for a, b in pairwise(widths))
        self.norm, self.head = _norm(channels), nn.Conv2d(channels, shape[0], 3, padding=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, code: Tensor, labels: Tensor) -> Tensor:
        """code: ``(N, latent)``; labels: ``(N,)``; gives ``(N, C, H, W)``."""
        if self.label is not None:
            code = torch.cat([code, self.label(labels)], dim=1)
        h = self.stem(code).view(-1, *self.smallest).contiguous(memory_format=torch.channels_last)
        for level in self.levels:
            h = level(h, code)
        result: Tensor = self.head(F.silu(self.norm(h)))
        return result


def _smallest(shape: Sequence[int], channel_mult: Sequence[int]) -> tuple[int, int]:
    height, width = shape[1:]
    parts = 2 ** len(channel_mult)
    if height % parts or width % parts:
        raise UserError(
            f"Pictures of {height}x{width} cannot be halved {len(channel_mult)} times; set images.size to a multiple of "
            f"{parts}, or shorten channel_mult={list(channel_mult)} of the section of this family."
        )
    return height // parts, width // parts


class GroupNorm(nn.GroupNorm):
    """PyTorch's, but one value a group is accepted also in a batch of one picture, where PyTorch refuses it."""

    def forward(self, input: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def _norm(channels: int) -> nn.GroupNorm:
    return GroupNorm(math.gcd(channels, 8), channels)
