"""Dropout (Srivastava et al. 2014) that is cheap on a CPU, and stochastic depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Zeroes a share ``p`` of the entries and scales the others by ``1 / (1 - p)``, in training only.

    PyTorch draws one Bernoulli number an entry, on a CPU at three times the cost of everything else here. This takes
    four entries' randomness from each 64-bit draw of torch's global generator, so that ``p`` is rounded to 1/65,536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * keep_mask(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def keep_mask(x: Tensor, p: float) -> Tensor:
    """Of ``x``'s shape and type: 0 with probability ``p``, else ``1 / (1 - p)``."""
    dropped = round(p * _LEVELS)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[: x.numel()] >= dropped - _LEVELS // 2
    return keep.view(x.shape).to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): an example skips the sublayer with probability ``p``, in training only.

    Those that do not are scaled by ``1 / (1 - p)``, so that nothing changes afterwards (the paper scales in testing).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x`` ``(B, ...)``, a sublayer's output."""
        if not self.training or not self.p:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.p
        return x * (keep / (1 - self.p)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"p={self.p}"
