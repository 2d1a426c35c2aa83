"""Scaled dot-product and multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2).

Masks broadcast to ``(B, H, T, S)``. Boolean: True where query ``t`` may attend to key ``s``. Of numbers: added to the scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.transformer.blocks.linear import Linear
from stepladder.transformer.blocks.positions import Alibi, Rotary

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``softmax(scale Q K^T) V`` written out (equation 1); returns the output and the weights.

    Args:
        query: ``(B, H, T, d_k)``.
        key: ``(B, G, S, d_k)``; ``G`` divides ``H``, and each head of keys serves ``H / G`` of queries in turn
            (Ainslie et al. 2023, "GQA").
        value: ``(B, G, S, d_v)``.
        mask: who may attend to whom; every query must be left at least one key.
        causal: query ``t`` attends to keys up to ``t`` only.
        scale: None: ``1 / sqrt(d_k)``.

    Returns:
        Output ``(B, H, T, d_v)`` and weights ``(B, H, T, S)``, whose rows sum to 1.
    """
    if key.shape[1] != query.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~causal_mask(query.shape[-2], key.shape[-2], query.device), -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(dim=-1)
    return weights @ value, weights


def fast_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """The output of ``attention`` by PyTorch's fused kernels; takes a mask or ``causal``, not both."""
    grouped = key.shape[1] != query.shape[1]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scale, enable_gqa=grouped
    )


def causal_mask(queries: int, keys: int, device: torch.device | str | None = None) -> Tensor:
    """``(T, S)``: query ``t`` may attend to keys ``0..t``."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


def padding_mask(tokens: Tensor, pad: int) -> Tensor:
    """``(B, 1, 1, S)`` from tokens ``(B, S)``: every query may attend to what is not padding."""
    return (tokens != pad)[:, None, None, :]


class Scale(nn.Module):
    """What queries are multiplied by before an attention that divides the scores by ``sqrt(d_k)``.

    ``sqrt``: 1, as published; ``none``: ``sqrt(d_k)``, so that scores stay unscaled and the softmax saturates (section
    3.2.1, footnote 4); ``learned``: one number a head, at first 1.
    """

    def __init__(self, kind: str, num_heads: int, d_head: int) -> None:
        super().__init__()
        self.factor = {"sqrt": 1.0, "none": math.sqrt(d_head), "learned": None}[kind]
        if kind == "learned":
            self.learned = nn.Parameter(torch.ones(num_heads, 1, 1))

    def forward(self, query: Tensor) -> Tensor:
        """``(B, H, T, d_head)`` to the same shape."""
        if self.factor == 1.0:
            return query
        return query * (self.learned if self.factor is None else self.factor)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, its three input projections in one matrix (section 3.2.2).

    Args:
        positions: ``rotary`` and ``alibi`` act here; any other leaves the scores as they are.
        scale: ``sqrt``, ``none`` or ``learned`` (see ``Scale``).
        kv_heads: heads of keys and values, shared by groups of queries' heads; 0: ``num_heads``.
    """

    def __init__(
        self, d_model: int, num_heads: int, positions: str = "none", scale: str = "sqrt", kv_heads: int = 0
    ) -> None:
        super().__init__()
        self.d_head, self.num_heads, self.kv_heads = d_model // num_heads, num_heads, kv_heads or num_heads
        self.attend: Attend = fast_attention
        self.query_key_value = projection(d_model, d_model, *[self.kv_heads * self.d_head] * 2)
        self.output = projection(d_model, d_model)
        self.scale = Scale(scale, num_heads, self.d_head)
        self.rotary = Rotary(self.d_head) if positions == "rotary" else None
        self.alibi = Alibi(num_heads) if positions == "alibi" else None

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """``(B, T, d_model)`` to the same shape."""
        return self.finish(*self.project(x), mask, causal)

    def project(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``(B, H, T, d_head)``, keys and values ``(B, G, T, d_head)`` of ``x`` ``(B, T, d_model)``.

        Args:
            start: position of the first of ``x``.
        """
        query, key, value = _split(self.query_key_value(x), self.d_head, self.num_heads, self.kv_heads, self.kv_heads)
        if self.rotary is not None:
            query, key = self.rotary(query, start), self.rotary(key, start)
        return self.scale(query), key, value

    def finish(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Attention of queries to keys and values of all positions up to the queries': ``(B, T, d_model)``."""
        if self.alibi is not None:
            mask, causal = self._biased(query, key, mask, causal), False
        result: Tensor = self.output(_merge(self.attend(query, key, value, mask, causal)))
        return result

    def _biased(self, query: Tensor, key: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """ALiBi's bias, minus infinity where ``mask`` or causality forbids."""
        assert self.alibi is not None
        bias: Tensor = self.alibi(query.shape[2], key.shape[2])
        if causal:
            bias = bias.masked_fill(~causal_mask(query.shape[2], key.shape[2], bias.device), -math.inf)
        if mask is not None:
            bias = bias.masked_fill(~mask, -math.inf)
        return bias.to(query.dtype)


class CrossAttention(nn.Module):
    """Multi-head attention of the decoder to the encoder's output (section 3.2.3); arguments as ``SelfAttention``'s."""

    def __init__(self, d_model: int, num_heads: int, scale: str = "sqrt", kv_heads: int = 0) -> None:
        super().__init__()
        self.d_head, self.num_heads, self.kv_heads = d_model // num_heads, num_heads, kv_heads or num_heads
        self.attend: Attend = fast_attention
        self.query = projection(d_model, d_model)
        self.key_value = projection(d_model, *[self.kv_heads * self.d_head] * 2)
        self.output = projection(d_model, d_model)
        self.scale = Scale(scale, num_heads, self.d_head)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, T, d_model)`` attends to ``memory`` ``(B, S, d_model)``; gives ``(B, T, d_model)``."""
        return self.finish(x, *self.project(memory), mask)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of ``memory`` ``(B, S, d_model)``, each ``(B, G, S, d_head)``."""
        key, value = _split(self.key_value(memory), self.d_head, self.kv_heads, self.kv_heads)
        return key, value

    def finish(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``(B, T, d_model)`` attends to projected keys and values ``(B, G, S, d_head)``."""
        (query,) = _split(self.query(x), self.d_head, self.num_heads)
        result: Tensor = self.output(_merge(self.attend(self.scale(query), key, value, mask, False)))
        return result


def projection(inputs: int, *outputs: int) -> nn.Linear:
    """One matrix for several projections, each of them initialised by itself (Glorot and Bengio 2010)."""
    linear = Linear(inputs, sum(outputs))
    for part in torch.split(linear.weight.detach(), list(outputs)):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(linear.bias)
    return linear


def _split(x: Tensor, d_head: int, *heads: int) -> tuple[Tensor, ...]:
    """``(B, T, sum(heads) * d)`` into one ``(B, H, T, d)`` for each number of ``heads``."""
    return x.view(*x.shape[:-1], -1, d_head).transpose(1, 2).split_with_sizes(heads, dim=1)


def _merge(x: Tensor) -> Tensor:
    """``(B, H, T, d)`` into ``(B, T, H * d)``."""
    return x.transpose(1, 2).flatten(2)
