"""Classifier-free guidance: Ho and Salimans (2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor, Tensor, Tensor], Tensor]


def guided(network: Network, x: Tensor, time: Tensor, labels: Tensor, null: int, scale: float) -> Tensor:
    """``f(x, null) + scale (f(x, label) - f(x, null))`` in one forward of both; at ``scale`` 1 just ``f(x, label)``.

    Args:
        x: ``(N, C, H, W)``; time: ``(N,)``; labels: ``(N,)``; null: the label that stands for no class.
    """
    if scale == 1:
        return network(x, time, labels)
    both = torch.cat([labels, torch.full_like(labels, null)])
    with_label, without = network(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
    return without + scale * (with_label - without)
