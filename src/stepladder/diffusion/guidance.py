"""Classifier-free guidance: Ho and Salimans (2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stepladder.diffusion.conditions import Condition, doubled, nothing

Network = Callable[[Tensor, Tensor, Condition], Tensor]


def guided(network: Network, x: Tensor, time: Tensor, condition: Condition, classes: int, scale: float) -> Tensor:
    """``f(x) + scale (f(x, condition) - f(x))`` in one forward of both; at ``scale`` 1 just ``f(x, condition)``.

    Args:
        x: ``(N, C, H, W)``; time: ``(N,)``; classes: their number.
    """
    if scale == 1:
        return network(x, time, condition)
    both = doubled(condition, nothing(condition, classes))
    with_it, without = network(torch.cat([x, x]), torch.cat([time, time]), both).chunk(2)
    return without + scale * (with_it - without)
