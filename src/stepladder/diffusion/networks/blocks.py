"""What the UNet is built of."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder.diffusion.networks.convolutions import convolution, zeroed
from stepladder.diffusion.networks.normalisation import normalised


def sinusoidal(time: Tensor, width: int) -> Tensor:
    """Embedding ``(N, width)`` of ``time`` ``(N,)`` in [0, 1], which is stretched to 0..1000 as published."""
    half = -(-width // 2)
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angle = 1000 * time[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)[:, :width]


def embedding(width: int, out: int) -> nn.Sequential:
    """From a sinusoidal embedding of ``width`` to ``out``."""
    return nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))


class GroupNorm(nn.GroupNorm):
    """PyTorch's, but one value a group is accepted also in a batch of one picture, where PyTorch refuses it."""

    def forward(self, input: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group normalisation in at most ``groups`` groups."""
    return GroupNorm(math.gcd(channels, groups), channels)


def halved(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` to half of its sides, each pixel the mean of four."""
    return F.avg_pool2d(x, 2)


def twice(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` to twice its sides, each pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class ResidualBlock(nn.Module):
    """norm, SiLU, convolution; norm, SiLU, dropout, convolution from zero; plus the input.

    The embedding scales and shifts the second norm (Nichol and Dhariwal 2021), or is added before it (Ho et al. 2020,
    ``scale_shift`` false). With ``resample`` "down" or "up" both branches halve or double the side, before the first
    convolution (Brock et al. 2019; Dhariwal and Nichol 2021).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        dropout: float,
        *,
        groups: int = 8,
        scale_shift: bool = True,
        conv: str = "full",
        resample: str = "",
    ) -> None:
        super().__init__()
        self.norm_in, self.conv_in = norm(channels, groups), convolution(conv, channels, out)
        self.norm_out, self.conv_out = norm(out, groups), zeroed(convolution(conv, out, out))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.scale_shift = scale_shift
        self.modulation = 2 * out if scale_shift else out
        self.resample = {"": None, "down": halved, "up": twice}[resample]

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x: ``(N, channels, H, W)``; modulation: ``(N, 2 out)``, or ``(N, out)``; gives ``(N, out, H', W')``."""
        h = normalised(x, self.norm_in)
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_in(h)
        if self.scale_shift:
            scale, shift = modulation.chunk(2, dim=1)
            h = normalised(h, self.norm_out, 1 + scale, shift)
        else:
            h = normalised(h + modulation[:, :, None, None], self.norm_out)
        result: Tensor = self.skip(x) + self.conv_out(self.dropout(h))
        return result


class SpatialAttention(nn.Module):
    """Multi-head self-attention over the positions of a picture; the output projection starts from zero."""

    def __init__(self, channels: int, heads: int, groups: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm(channels, groups)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        n, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).contiguous()
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        result: Tensor = x + self.out(attended.reshape(n, h, w, c).permute(0, 3, 1, 2))
        return result


class TextAttention(nn.Module):
    """Multi-head attention from the positions of a picture to the words of a text; the output projection starts from zero."""

    def __init__(self, channels: int, heads: int, context: int, groups: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm(channels, groups)
        self.q, self.out = nn.Conv2d(channels, channels, 1), zeroed(nn.Conv2d(channels, channels, 1))
        self.kv = nn.Linear(context, 2 * channels)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """x: ``(N, C, H, W)``; context: ``(N, L, context)``; mask: ``(N, L)``, true where attended. Like ``x``."""
        n, c, h, w = x.shape
        q = self.q(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, self.heads, c // self.heads).transpose(1, 2)
        k, v = self.kv(context).view(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :]).transpose(1, 2)
        result: Tensor = x + self.out(attended.reshape(n, h, w, c).permute(0, 3, 1, 2))
        return result
