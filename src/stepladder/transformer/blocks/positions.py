"""Positional encoding: what tells a Transformer the order of its tokens.

Absolute positions are added to the embeddings: ``sinusoidal``, ``learned``. Relative ones act in every self-attention:
``rotary`` turns queries and keys, ``alibi`` lowers the scores of distant keys. ``none`` leaves order to the causal mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stepladder.errors import UserError


def sinusoidal(length: int, d_model: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 pi to 10,000 * 2 pi (Vaswani et al. 2017, section 3.5).

    Returns:
        ``(length, d_model)`` with ``sin(pos / 10000^(2i / d_model))`` at ``[pos, 2i]`` and the cosine at
        ``[pos, 2i + 1]``. ``d_model`` must be even.
    """
    angle = _angles(length, d_model)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Each pair ``(x_2i, x_2i+1)`` turned by its position's angle (Su et al. 2021, "RoFormer", equation 34).

    Args:
        x: ``(B, H, T, d)``.
        cos, sin: ``(T, d / 2)``, of ``pos / 10000^(2i / d)``.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def alibi_slopes(num_heads: int) -> Tensor:
    """``(H,)``: ``2^(-8 h / H)`` for head ``h`` of 1 to ``H`` (Press et al. 2022, "Train Short, Test Long", section 3).

    Where ``H`` is no power of two: those of the power below, then every second one of the power above, as the authors do.
    """
    below = 2 ** int(math.log2(num_heads))
    slopes = [2 ** (-8 * h / below) for h in range(1, below + 1)]
    slopes += [2 ** (-4 * h / below) for h in range(1, 2 * (num_heads - below), 2)]
    return torch.tensor(slopes)


class AbsolutePositions(nn.Module):
    """Adds ``sinusoidal`` or ``learned`` positions to embeddings; with any other ``kind`` it adds nothing.

    Args:
        max_length: positions that are learned; for ``sinusoidal`` those kept, and longer inputs extend them.
    """

    table: Tensor | None

    def __init__(self, kind: str, max_length: int, d_model: int) -> None:
        super().__init__()
        self.learned = kind == "learned"
        if self.learned:
            self.table = nn.Parameter(torch.randn(max_length, d_model) * d_model**-0.5)
        else:
            table = sinusoidal(max_length, d_model) if kind == "sinusoidal" else None
            self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """``x`` ``(B, T, d_model)`` with positions from ``start`` on; raises ``UserError`` beyond the learned ones."""
        if self.table is None:
            return x
        end = start + x.shape[1]
        if end > len(self.table):
            if self.learned:
                raise UserError(
                    f"The model learned {len(self.table)} positions and was given a text of {end} tokens; "
                    "shorten it, or train with a larger max_length or positions other than learned."
                )
            with torch.inference_mode(False):
                self.table = sinusoidal(2 * end, x.shape[2]).to(self.table)
        return x + self.table[start:end]


class Rotary(nn.Module):
    """``rotate`` with its tables kept; longer inputs extend them."""

    cos: Tensor
    sin: Tensor

    def __init__(self, d_head: int, length: int = 256) -> None:
        super().__init__()
        angle = _angles(length, d_head)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Queries or keys ``(B, H, T, d_head)`` at positions from ``start`` on."""
        end = start + x.shape[2]
        if end > len(self.cos):
            with torch.inference_mode(False):  # training goes on with these tables
                angle = _angles(2 * end, x.shape[3])
                self.cos, self.sin = angle.cos().to(self.cos), angle.sin().to(self.sin)
        return rotate(x, self.cos[start:end].to(x.dtype), self.sin[start:end].to(x.dtype))


class Alibi(nn.Module):
    """``-slope * |i - j|``, added to the score of query ``i`` and key ``j`` (Press et al. 2022)."""

    slopes: Tensor

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", alibi_slopes(num_heads), persistent=False)

    def forward(self, queries: int, keys: int) -> Tensor:
        """``(H, T, S)``, the queries standing at the last ``T`` of the ``S`` positions."""
        position = torch.arange(keys, device=self.slopes.device)
        distance = (position[keys - queries :, None] - position).abs()
        return -self.slopes[:, None, None] * distance


def _angles(length: int, width: int) -> Tensor:
    """``(length, width / 2)``: ``pos / 10000^(2i / width)``, in double precision."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    return position * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
