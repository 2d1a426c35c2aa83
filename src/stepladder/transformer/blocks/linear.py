"""Linear layers whose single-precision products on a CPU are oneDNN's, forward and backward.

PyTorch leaves them to MKL, which on an AMD processor does not use AVX-512: there oneDNN is twice as fast (measured by
``benchmarks/seq2seq.py``), elsewhere about equal. The operator is the one that ``torch.compile`` puts in the place of a linear layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_packed: dict[int, Tensor] = {}


class Linear(nn.Linear):
    """``x W^T + b``, as ``nn.Linear``."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x`` ``(..., K)``, ``weight`` ``(N, K)`` and ``bias`` ``(N,)`` to ``(..., N)``, as ``F.linear``."""
    if not suits(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled():
        result: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]  # untyped in torch
        return result
    return product(x, _packed.get(id(weight), weight), bias)


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is to multiply."""
    return (
        x.numel() > 0
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """oneDNN's ``x W^T + b``; knows no gradients."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return result


@contextmanager
def packed(*weights: Tensor) -> Iterator[None]:
    """While open, products with ``weights`` ``(N, K)`` without gradients use a copy in the layout that oneDNN reads fastest.

    For decoding, which multiplies few rows with the same weights many times; the weights must not change meanwhile.
    Inside another such block, weights that are packed already are not packed again.
    """
    reordered = {
        id(w): torch.ops.mkldnn._reorder_linear_weight(w.detach(), None)
        for w in weights
        if w.ndim == 2 and id(w) not in _packed and suits(w, w)
    }
    _packed.update(reordered)
    try:
        yield
    finally:
        for key in reordered:
            _packed.pop(key, None)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        rows = gradient.reshape(-1, gradient.shape[-1])
        grad_x = product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        grad_weight = product(rows.t(), x.reshape(-1, x.shape[-1]).t()) if ctx.needs_input_grad[1] else None
        grad_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias
