"""The convolutions that a residual block can be made of: each keeps the side of its picture, 3x3 unless it says otherwise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPECTRAL_SIDE = 7


def convolution(kind: str, channels: int, out: int) -> nn.Module:
    """A convolution ``(N, channels, H, W)`` to ``(N, out, H, W)``.

    - ``full``: 9 channels x out weights.
    - ``depthwise_separable``: 3x3 for each channel, then 1x1 between channels (Howard et al. 2017): 9 channels + channels x
      out weights.
    - ``fft``: ``Spectral`` for each channel, then 1x1 between channels.
    """
    if kind == "full":
        return nn.Conv2d(channels, out, 3, padding=1)
    each = nn.Conv2d(channels, channels, 3, padding=1, groups=channels) if kind != "fft" else Spectral(channels)
    return nn.Sequential(each, nn.Conv2d(channels, out, 1))


class DoublingConv2d(nn.Conv2d):
    """Doubles the sides by repeating pixels, then applies the 3x3 convolution whose weights it has.

    Computed as one transposed convolution with a 4x4 kernel of stride 2, which is the same map for 16/36 of the products:
    an output pixel lies in two rows and two columns of doubled pixels, whose weights add up.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """``(N, channels, H, W)`` to ``(N, out, 2H, 2W)``."""
        summed = 4 * F.avg_pool2d(F.pad(self.weight, (1, 1, 1, 1)), 2, stride=1)
        return F.conv_transpose2d(input, summed.flip(2, 3).transpose(0, 1), self.bias, stride=2, padding=1)


def zeroed(module: nn.Module) -> nn.Module:
    """``module`` with its last layer's weights and bias set to zero, so that it outputs zero before training."""
    last = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return module


class Spectral(nn.Module):
    """A convolution of each channel as a product in the Fourier domain (the convolution theorem; Rippel et al. 2015).

    The kernel has ``side`` x ``side`` weights and the picture is periodic; the cost does not depend on ``side``. The kernel's
    response is evaluated at the frequencies of whatever picture comes, so that one layer serves every resolution.
    """

    def __init__(self, channels: int, side: int = SPECTRAL_SIDE) -> None:
        super().__init__()
        self.side = side
        self.kernel = nn.Parameter(torch.empty(channels, side, side))
        nn.init.uniform_(self.kernel, -1 / side, 1 / side)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same; computed in single precision."""
        with torch.autocast(x.device.type, enabled=False):
            height, width = x.shape[2:]
            offsets = torch.arange(self.side, device=x.device) - self.side // 2
            rows = _phases(offsets, torch.arange(height, device=x.device), height)
            columns = _phases(offsets, torch.arange(width // 2 + 1, device=x.device), width)
            response = torch.einsum("hk,ckl,wl->chw", rows, self.kernel.float().to(rows.dtype), columns)
            product = torch.fft.rfft2(x.float()) * response.conj()
            y: Tensor = torch.fft.irfft2(product, s=(height, width)) + self.bias[:, None, None]
        return y.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _phases(offsets: Tensor, frequencies: Tensor, period: int) -> Tensor:
    angle = -2 * math.pi / period * (frequencies[:, None] * offsets)
    return torch.polar(torch.ones_like(angle), angle)
