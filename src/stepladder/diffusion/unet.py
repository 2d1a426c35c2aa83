"""A compact UNet: Ho et al. (2020) with the scale-shift norm of Nichol and Dhariwal (2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder.diffusion.conditions import Condition
from stepladder.errors import UserError


def sinusoidal(time: Tensor, width: int) -> Tensor:
    """Embedding ``(N, width)`` of ``time`` ``(N,)`` in [0, 1], which is stretched to 0..1000 as published."""
    half = -(-width // 2)
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angle = 1000 * time[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)[:, :width]


class ResidualBlock(nn.Module):
    """norm, SiLU, 3x3; norm scaled and shifted by the embedding, SiLU, dropout, 3x3 from zero; plus the input."""

    def __init__(self, channels: int, out: int, dropout: float) -> None:
        super().__init__()
        self.norm_in, self.conv_in = _norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.norm_out, self.conv_out = _norm(out), _zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.modulation = 2 * out

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x: ``(N, channels, H, W)``; modulation: ``(N, 2 out)``; gives ``(N, out, H, W)``."""
        scale, shift = modulation[:, :, None, None].chunk(2, dim=1)
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = torch.addcmul(shift, self.norm_out(h), 1 + scale)
        return self.skip(x) + self.conv_out(self.dropout(F.silu(h)))


class SpatialAttention(nn.Module):
    """Multi-head self-attention over the positions of a picture; the output projection starts from zero."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), _zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        n, c, h, w = x.shape
        q, k, v = (
            self.qkv(self.norm(x)).flatten(2).view(n, 3, self.heads, c // self.heads, h * w).transpose(3, 4).unbind(1)
        )
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(n, c, h, w))


class UNet(nn.Module):
    """Predicts what the process asks for, at noisy pictures.

    Args:
        shape: (C, H, W) of a picture.
        channels: of the first level.
        channel_mult: channels of each level in multiples of the first; each level halves the side.
        blocks: residual blocks a level (one more on the way up).
        attention_resolutions: heights at which there is attention.
        heads: attention heads.
        dropout: in residual blocks.
        classes: number of classes; label ``classes`` itself stands for none. 0: unconditional.

    Raises:
        UserError: the sides cannot be halved as often as there are levels, less one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        channel_mult: Sequence[int],
        blocks: int,
        attention_resolutions: Sequence[int],
        heads: int,
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        picture_channels, height, width = shape
        halvings = len(channel_mult) - 1
        if height % 2**halvings or width % 2**halvings:
            raise UserError(
                f"Pictures of {height}x{width} cannot be halved {halvings} times; set images.size to a multiple of "
                f"{2**halvings}, or shorten diffusion.unet.channel_mult={list(channel_mult)}."
            )
        self.channels = channels
        embedded = 4 * channels
        self.time = nn.Sequential(nn.Linear(channels, embedded), nn.SiLU(), nn.Linear(embedded, embedded))
        self.label = nn.Embedding(classes + 1, embedded) if classes else None
        self.stem = nn.Conv2d(picture_channels, channels, 3, padding=1)

        def block(from_: int, to: int) -> ResidualBlock:
            return ResidualBlock(from_, to, dropout)

        def attention(channels: int, side: int) -> nn.Module:
            return SpatialAttention(channels, heads) if side in attention_resolutions else nn.Identity()

        self.down, skips, now, side = nn.ModuleList(), [channels], channels, height
        for level, mult in enumerate(channel_mult):
            for _ in range(blocks):
                self.down.append(nn.ModuleList([block(now, mult * channels), attention(mult * channels, side)]))
                now = mult * channels
                skips.append(now)
            if level < halvings:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
                side //= 2
        self.middle = nn.ModuleList([block(now, now), SpatialAttention(now, heads), block(now, now)])
        self.up = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for _ in range(blocks + 1):
                self.up.append(
                    nn.ModuleList([block(now + skips.pop(), mult * channels), attention(mult * channels, side)])
                )
                now = mult * channels
            if level:
                self.up.append(nn.Conv2d(now, now, 3, padding=1))
                side *= 2
        self.head_norm, self.head = _norm(now), _zeroed(nn.Conv2d(now, picture_channels, 3, padding=1))
        self.widths = [m.modulation for m in self.modules() if isinstance(m, ResidualBlock)]
        self.modulation = nn.Linear(embedded, sum(self.widths))  # of all blocks in one product
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """x: ``(N, C, H, W)``; time: ``(N,)``, (t + 1) / T; see ``conditions``. Like ``x``."""
        embedding = self.time(sinusoidal(time, self.channels).to(x.dtype))
        if self.label is not None:
            embedding = embedding + self.label(condition["labels"])
        modulation = iter(self.modulation(F.silu(embedding)).split(self.widths, dim=1))
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for layer in self.down:
            if isinstance(layer, nn.ModuleList):
                residual, attention = layer
                x = attention(residual(x, next(modulation)))
            else:
                x = layer(x)
            skips.append(x)
        first, attention, second = self.middle
        x = second(attention(first(x, next(modulation))), next(modulation))
        for layer in self.up:
            if isinstance(layer, nn.ModuleList):
                residual, attention = layer
                x = attention(residual(torch.cat([x, skips.pop()], dim=1), next(modulation)))
            else:
                x = layer(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.head(F.silu(self.head_norm(x)))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(channels, 8), channels)


def _zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
