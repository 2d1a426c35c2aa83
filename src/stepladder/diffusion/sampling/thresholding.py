"""Keeps a predicted x_0 within the range of the data."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped(x_0: Tensor) -> Tensor:
    """``x_0`` within [-1, 1]: Ho et al. (2020), in their code."""
    return x_0.clamp(-1, 1)


def dynamic(x_0: Tensor, share: float) -> Tensor:
    """Dynamic thresholding: Saharia et al. (2022), section 2.3.

    Each picture is clipped to [-s, s] and divided by s, where s is the quantile ``share`` of its absolute pixels, or 1 where
    that is less.
    """
    limit = x_0.flatten(1).abs().float().quantile(share, dim=1).clamp(min=1).to(x_0.dtype)
    limit = limit.view(-1, *[1] * (x_0.ndim - 1))
    return torch.minimum(torch.maximum(x_0, -limit), limit) / limit
