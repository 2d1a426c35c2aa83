"""Positional encoding: what tells a Transformer the order of its tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal(length: int, d_model: int) -> Tensor:
    """Sines and cosines of wavelengths from 2 pi to 10,000 * 2 pi (Vaswani et al. 2017, section 3.5).

    Returns:
        ``(length, d_model)`` with ``sin(pos / 10000^(2i / d_model))`` at ``[pos, 2i]`` and the cosine at
        ``[pos, 2i + 1]``. ``d_model`` must be even.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10000.0) / d_model))
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
