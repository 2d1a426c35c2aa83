"""Scaled dot-product and multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2).

Masks are boolean and broadcast to ``(B, H, T, S)``: True where query ``t`` may attend to key ``s``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """``softmax(Q K^T / sqrt(d_k)) V`` written out (equation 1); returns the output and the weights.

    Args:
        query: ``(B, H, T, d_k)``.
        key: ``(B, H, S, d_k)``.
        value: ``(B, H, S, d_v)``.
        mask: who may attend to whom; every query must be left at least one key.
        causal: query ``t`` attends to keys up to ``t`` only.

    Returns:
        Output ``(B, H, T, d_v)`` and weights ``(B, H, T, S)``, whose rows sum to 1.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if causal:
        scores = scores.masked_fill(~causal_mask(query.shape[-2], key.shape[-2], query.device), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    return weights @ value, weights


def fast_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """The output of ``attention`` by PyTorch's fused kernels; takes a mask or ``causal``, not both."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


def causal_mask(queries: int, keys: int, device: torch.device | str | None = None) -> Tensor:
    """``(T, S)``: query ``t`` may attend to keys ``0..t``."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


def padding_mask(tokens: Tensor, pad: int) -> Tensor:
    """``(B, 1, 1, S)`` from tokens ``(B, S)``: every query may attend to what is not padding."""
    return (tokens != pad)[:, None, None, :]


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, its three input projections in one matrix (section 3.2.2)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attend: Attend = fast_attention
        self.query_key_value = _projection(d_model, d_model, d_model, d_model)
        self.output = _projection(d_model, d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """``(B, T, d_model)`` to the same shape."""
        query, key, value = self.project(x)
        return self.output(_merge(self.attend(query, key, value, mask, causal)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of ``x`` ``(B, T, d_model)``, each ``(B, H, T, d_head)``."""
        query, key, value = _split(self.query_key_value(x), 3, self.num_heads)
        return query, key, value

    def finish(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of queries to keys and values kept in a cache: ``(B, T, d_model)``."""
        return self.output(_merge(self.attend(query, key, value, None, False)))


class CrossAttention(nn.Module):
    """Multi-head attention of the decoder to the encoder's output (section 3.2.3)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attend: Attend = fast_attention
        self.query = _projection(d_model, d_model)
        self.key_value = _projection(d_model, d_model, d_model)
        self.output = _projection(d_model, d_model)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, T, d_model)`` attends to ``memory`` ``(B, S, d_model)``; gives ``(B, T, d_model)``."""
        return self.finish(x, *self.project(memory), mask)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of ``memory`` ``(B, S, d_model)``, each ``(B, H, S, d_head)``."""
        key, value = _split(self.key_value(memory), 2, self.num_heads)
        return key, value

    def finish(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, T, d_model)`` attends to projected keys and values ``(B, H, S, d_head)``."""
        (query,) = _split(self.query(x), 1, self.num_heads)
        return self.output(_merge(self.attend(query, key, value, mask, False)))


def _projection(inputs: int, *outputs: int) -> nn.Linear:
    """One matrix for several projections, each of them initialised by itself (Glorot and Bengio 2010)."""
    linear = nn.Linear(inputs, sum(outputs))
    for part in linear.weight.detach().split(outputs):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(linear.bias)
    return linear


def _split(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """``(B, T, parts * H * d)`` into ``parts`` tensors ``(B, H, T, d)``."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def _merge(x: Tensor) -> Tensor:
    """``(B, H, T, d)`` into ``(B, T, H * d)``."""
    return x.transpose(1, 2).flatten(2)
