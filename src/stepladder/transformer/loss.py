"""Cross entropy with label smoothing that knows padding (Szegedy et al. 2016, section 7; Vaswani et al. 2017, 5.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def smoothed_cross_entropy(logits: Tensor, target: Tensor, *, pad: int, smoothing: float) -> Tensor:
    """Sum over the targets that are not padding of the cross entropy with smoothed labels, in nats.

    The wanted token gets ``1 - smoothing``; the rest is spread evenly over all tokens but padding.

    Args:
        logits: ``(N, V)`` scores.
        target: ``(N,)`` tokens; those equal to ``pad`` count nothing.

    Returns:
        A scalar, in single precision.
    """
    result: Tensor = _SmoothedCrossEntropy.apply(logits, target, pad, smoothing)
    return result


class _SmoothedCrossEntropy(torch.autograd.Function):
    """The gradient in one pass: ``softmax(logits) - labels``."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, pad: int, smoothing: float) -> Tensor:
        log_probabilities = logits.float().log_softmax(-1)
        counted = target != pad
        spread = smoothing / (logits.shape[-1] - 1)
        ctx.save_for_backward(log_probabilities, target, counted)
        ctx.pad, ctx.smoothing, ctx.spread, ctx.dtype = pad, smoothing, spread, logits.dtype
        wanted = log_probabilities.gather(1, target[:, None])[:, 0]
        others = log_probabilities.sum(-1) - log_probabilities[:, pad] if smoothing else 0.0
        return -(((1 - smoothing) * wanted + spread * others) * counted).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        log_probabilities, target, counted = ctx.saved_tensors
        gradient = log_probabilities.exp()
        if ctx.smoothing:
            gradient -= ctx.spread
            gradient[:, ctx.pad] += ctx.spread
        gradient.scatter_add_(1, target[:, None], torch.full_like(gradient[:, :1], ctx.smoothing - 1))
        gradient *= (counted * gradients[0])[:, None]
        return gradient.to(ctx.dtype), None, None, None
