"""Group normalisation, scale and shift, and SiLU: what stands before every convolution of the UNet."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def normalised(x: Tensor, norm: nn.GroupNorm, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """``silu(scale * norm(x) + shift)``.

    With scale and shift, on a CPU, without ``torch.compile`` and autocast, it is one autograd function, which takes 3/4
    of the time of the operations and keeps less for the backward; elsewhere the operations, which the compiler fuses.

    Args:
        x: ``(N, C, H, W)``.
        norm: with weights and bias.
        scale, shift: ``(N, C)``; None: one and zero.
    """
    if scale is None or shift is None:
        return F.silu(norm(x))
    if x.device.type == "cpu" and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")):
        shift = torch.addcmul(shift, norm.bias.expand_as(scale), scale)
        result: Tensor = _Normalised.apply(x, norm.weight * scale, shift, norm.num_groups, norm.eps)  # type: ignore[no-untyped-call]  # untyped in torch
        return result
    return F.silu(torch.addcmul(shift[:, :, None, None], norm(x), scale[:, :, None, None]))


class _Normalised(torch.autograd.Function):
    """With a group's mean m and deviation s, ``h = scale (x - m) / s + shift`` for each (N, C), and ``silu(h)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
        n, c, height, width = x.shape
        h, mean, inverse = torch.native_group_norm(x, None, None, n, c, height * width, groups, eps)
        torch.addcmul(shift[:, :, None, None], h, scale[:, :, None, None], out=h)
        ctx.save_for_backward(x, scale, mean, inverse, h)
        return F.silu(h)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, mean, inverse, h = ctx.saved_tensors
        n, c, height, width = x.shape
        groups = mean.shape[1]
        scale = scale.reshape(n, groups, -1)
        to_h = torch.ops.aten.silu_backward(gradient, h)
        to_shift = to_h.sum((2, 3)).view(n, groups, -1)
        product = to_h * x
        to_scale = (product.sum((2, 3)).view(n, groups, -1) - mean[:, :, None] * to_shift) * inverse[:, :, None]
        # dx = scale dh / s - (mean of scale dh x^ over the group) x^ / s - (mean of scale dh over the group) / s
        size = height * width * (c // groups)
        by_x = -inverse * inverse * (to_scale * scale).sum(2) / size
        constant = -inverse * (to_shift * scale).sum(2) / size - by_x * mean
        by_h = (scale * inverse[:, :, None]).view(n, c, 1, 1)

        def each(value: Tensor) -> Tensor:
            return value.repeat_interleave(c // groups, dim=1)[:, :, None, None]

        to_x = torch.addcmul(each(constant), x, each(by_x), out=product).addcmul_(to_h, by_h)
        return to_x, to_scale.view(n, c), to_shift.view(n, c), None, None
