"""Cross entropy with label smoothing that knows padding (Szegedy et al. 2016, section 7; Vaswani et al. 2017, 5.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stepladder.transformer.blocks.linear import linear

ROWS = {"cpu": 512}  # of scores computed at once: they fit a CPU's caches; elsewhere few large steps are best
MOST_ROWS = 8192


def smoothed_cross_entropy(logits: Tensor, target: Tensor, *, pad: int, smoothing: float) -> Tensor:
    """Sum over the targets that are not padding of the cross entropy with smoothed labels, in nats.

    ``smoothing`` is spread evenly over all V - 1 tokens but padding, the wanted one among them, which so gets ``1 - smoothing +
    smoothing / (V - 1)``: Szegedy et al. (2016), section 7. (JoeyNMT and the Annotated Transformer give it ``1 - smoothing``, which
    is this with ``smoothing (V - 2) / (V - 1)``.)

    Args:
        logits: ``(N, V)`` scores.
        target: ``(N,)`` tokens; those equal to ``pad`` count nothing.

    Returns:
        A scalar, in single precision.
    """
    result: Tensor = _SmoothedCrossEntropy.apply(logits, target, pad, smoothing)  # type: ignore[no-untyped-call]  # untyped in torch
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


def token_loss(model: Any, *inputs: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    """The loss of a language model's scores of ``inputs``: summed over ``wanted`` ``(B, T)`` where that is not padding."""
    hidden = model.hidden(*inputs).flatten(0, 1)
    return projected_cross_entropy(
        hidden, model.output, model.output_bias, wanted.flatten(), pad=model.pad, smoothing=smoothing
    )


def projected_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, *, pad: int, smoothing: float
) -> Tensor:
    """``smoothed_cross_entropy(linear(hidden, weight, bias), target)``, with only a part of the scores in memory.

    Scores of padding are not computed, and the gradients are computed with the loss, while a part's scores are in memory.

    Args:
        hidden: ``(N, d_model)``, what the output layer projects to scores.
        weight: ``(V, d_model)``.
        bias: ``(V,)``, or None.
        target: ``(N,)`` tokens; those equal to ``pad`` count nothing.
    """
    result: Tensor = _ProjectedCrossEntropy.apply(hidden, weight, bias, target, pad, smoothing, torch.is_grad_enabled())  # type: ignore[no-untyped-call]  # untyped in torch
    return result


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Gradients of the scores are ``softmax(scores) - labels``; the labels' part of it is added to the products.

    With ``spread`` on every token but padding and ``1 - smoothing`` more on the wanted one, the loss of a row is
    ``logsumexp(scores) - (1 - smoothing) scores[wanted] - spread (sum(scores) - scores[pad])``, and the sum of the scores
    needs no scores: it is the product with the sum of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        pad: int,
        smoothing: float,
        training: bool,
    ) -> Tensor:
        rows = (target != pad).nonzero()[:, 0]
        all_rows = len(rows) == len(target)
        counted, wanted = (hidden, target) if all_rows else (hidden[rows], target[rows])
        spread = smoothing / (len(weight) - 1)
        spread_weight = weight.sum(0) - weight[pad]
        spread_bias = 0.0 if bias is None else bias.sum() - bias[pad]

        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(counted)
        grad_weight, grad_bias = (None if w is None or not training else torch.zeros_like(w) for w in (weight, bias))
        size = ROWS.get(hidden.device.type, MOST_ROWS)
        for part, tokens, grad_part in zip(
            torch.split(counted, size), torch.split(wanted, size), torch.split(grad_hidden, size), strict=True
        ):
            scores = linear(part, weight, bias).float()
            largest = scores.amax(-1)
            wanted_scores = scores.gather(1, tokens[:, None])[:, 0]
            torch.softmax(scores, -1, out=scores)
            log_sum = largest - scores.amax(-1).log()  # the largest probability is exp(0) / sum
            total += (log_sum - (1 - smoothing) * wanted_scores).sum()
            if grad_weight is not None:
                scores.scatter_add_(1, tokens[:, None], scores.new_full((len(tokens), 1), smoothing - 1))
                scores = scores.to(part.dtype)
                grad_part.copy_(linear(scores, weight.t()))
                grad_weight += linear(scores.t(), part.t())
                if grad_bias is not None:
                    grad_bias += scores.sum(0)
        if spread:
            total -= spread * ((counted @ spread_weight).float().sum() + spread_bias * len(counted))
            if grad_weight is not None:
                grad_hidden -= (spread * spread_weight).to(grad_hidden.dtype)
                common = spread * counted.sum(0)
                grad_weight -= common
                grad_weight[pad] += common
            if grad_bias is not None:
                grad_bias -= spread * len(counted)
                grad_bias[pad] += spread * len(counted)
        if not all_rows:
            grad_hidden = torch.zeros_like(hidden).index_copy_(0, rows, grad_hidden)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if saved is None else saved * gradients[0] for saved in ctx.saved_tensors), None, None, None, None
