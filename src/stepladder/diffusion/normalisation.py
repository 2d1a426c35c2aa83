"""Group normalisation, scale and shift, and SiLU: what stands before every convolution of the UNet."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def normalised(x: Tensor, norm: nn.GroupNorm, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """``silu(scale * norm(x) + shift)``.

    On a CPU, and outside ``torch.compile`` and autocast, one function that keeps ``x`` alone for the gradients and needs half
    the time of the operations written out; elsewhere those, which the compiler fuses.

    Args:
        x: ``(N, C, H, W)``.
        norm: with weights and bias.
        scale, shift: ``(N, C)``; None: one and zero.
    """
    if x.device.type == "cpu" and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")):
        weight, bias = norm.weight.expand(x.shape[:2]), norm.bias.expand(x.shape[:2])
        if scale is not None and shift is not None:
            weight, bias = weight * scale, torch.addcmul(shift, bias, scale)
        return _Normalised.apply(x, weight, bias, norm.num_groups, norm.eps)
    h = norm(x)
    if scale is not None and shift is not None:
        h = torch.addcmul(shift[:, :, None, None], h, scale[:, :, None, None])
    return F.silu(h)


class _Normalised(torch.autograd.Function):
    """With a group's mean m and deviation s, ``h = scale (x - m) / s + shift = factor x + offset`` for each (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
        n, c, height, width = x.shape
        size = height * width * (c // groups)
        mean = x.sum((2, 3)).view(n, groups, -1).sum(2) / size
        square = x.square().sum((2, 3)).view(n, groups, -1).sum(2) / size
        inverse = torch.rsqrt((square - mean * mean).clamp(min=0) + eps)
        factor = scale.reshape(n, groups, -1) * inverse[:, :, None]
        offset = shift.reshape(n, groups, -1) - mean[:, :, None] * factor
        factor, offset = factor.view(n, c, 1, 1), offset.view(n, c, 1, 1)
        ctx.save_for_backward(x, scale, mean, inverse, factor, offset)
        return F.silu(torch.addcmul(offset, x, factor), inplace=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, inverse, factor, offset = ctx.saved_tensors
        n, c, height, width = x.shape
        groups = mean.shape[1]
        h = torch.addcmul(offset, x, factor)
        to_h = torch.ops.aten.silu_backward(gradient, h)
        to_shift = to_h.sum((2, 3))
        product = torch.mul(to_h, x, out=h).sum((2, 3)).view(n, groups, -1)
        to_scale = (product - mean[:, :, None] * to_shift.view(n, groups, -1)) * inverse[:, :, None]
        # dx = factor dh - (mean of scale dh x^ over the group) x^ / s - (mean of scale dh over the group) / s
        size = height * width * (c // groups)
        by_x = -inverse * inverse * (to_scale * scale.reshape(n, groups, -1)).sum(2) / size
        constant = -inverse * (to_shift * scale).view(n, groups, -1).sum(2) / size - by_x * mean

        def each(value: Tensor) -> Tensor:
            return value.repeat_interleave(c // groups, dim=1)[:, :, None, None]

        to_x = torch.addcmul(each(constant), x, each(by_x)).addcmul_(to_h, factor)
        return to_x, to_scale.reshape(n, c), to_shift, None, None
