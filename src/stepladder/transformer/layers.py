"""Encoder and decoder layers (Vaswani et al. 2017, section 3.1): sublayers, residuals and layer normalisation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.transformer.attention import CrossAttention, SelfAttention
from stepladder.transformer.dropout import Dropout

Residual = Callable[[Tensor, Callable[[Tensor], Tensor], nn.LayerNorm, Dropout], Tensor]


def post_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: nn.LayerNorm, dropout: Dropout) -> Tensor:
    """``LayerNorm(x + Dropout(Sublayer(x)))``, as published (sections 3.1 and 5.4)."""
    return norm(x + dropout(sublayer(x)))


def pre_norm(x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: nn.LayerNorm, dropout: Dropout) -> Tensor:
    """``x + Dropout(Sublayer(LayerNorm(x)))`` (Xiong et al. 2020): trains without a long warm-up."""
    return x + dropout(sublayer(norm(x)))


RESIDUALS: dict[str, Residual] = {"post": post_norm, "pre": pre_norm}


class FeedForward(nn.Module):
    """``max(0, x W_1 + b_1) W_2 + b_2`` at every position (section 3.3, equation 2)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_ff)
        self.outer = nn.Linear(d_ff, d_model)
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d_model)`` to the same shape."""
        return self.outer(F.relu(self.inner(x)))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each with its residual and normalisation."""

    def __init__(self, d_model: int, d_ff: int, num_heads: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.residual = RESIDUALS[norm]
        self.self_attention = SelfAttention(d_model, num_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``x`` ``(B, S, d_model)`` to the same shape; ``mask`` hides padding."""
        x = self.residual(x, lambda h: self.self_attention(h, mask), self.attention_norm, self.dropout)
        return self.residual(x, self.feed_forward, self.feed_forward_norm, self.dropout)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, then feed-forward."""

    def __init__(self, d_model: int, d_ff: int, num_heads: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.residual = RESIDUALS[norm]
        self.self_attention = SelfAttention(d_model, num_heads)
        self.cross_attention = CrossAttention(d_model, num_heads)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.self_norm, self.cross_norm, self.feed_forward_norm = (nn.LayerNorm(d_model) for _ in range(3))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """``x`` ``(B, T, d_model)`` and ``memory`` ``(B, S, d_model)`` to ``(B, T, d_model)``.

        Padding at the end of ``x`` needs no mask: causality hides it from what comes before.
        """
        return self._layer(
            x,
            lambda h: self.self_attention(h, causal=True),
            lambda h: self.cross_attention(h, memory, memory_mask),
        )

    def step(
        self,
        x: Tensor,
        remember: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        cross: tuple[Tensor, Tensor],
        memory_mask: Tensor | None,
    ) -> Tensor:
        """The next position of every hypothesis, from cached keys and values.

        Args:
            x: ``(B, K, d_model)``, one position of each of the ``K`` hypotheses of each of ``B`` sentences.
            remember: puts this position's key and value ``(B * K, H, 1, d_head)`` into the cache and returns all
                positions' ``(B * K, H, t, d_head)``.
            cross: keys and values of the memory, ``(B, H, S, d_head)``: a sentence's hypotheses share them.
            memory_mask: ``(B, 1, 1, S)``.
        """

        def self_attention(h: Tensor) -> Tensor:
            query, key, value = self.self_attention.project(h.flatten(0, 1).unsqueeze(1))
            return self.self_attention.finish(query, *remember(key, value)).view_as(h)

        return self._layer(x, self_attention, lambda h: self.cross_attention.finish(h, *cross, memory_mask))

    def _layer(
        self, x: Tensor, self_attention: Callable[[Tensor], Tensor], cross_attention: Callable[[Tensor], Tensor]
    ) -> Tensor:
        x = self.residual(x, self_attention, self.self_norm, self.dropout)
        x = self.residual(x, cross_attention, self.cross_norm, self.dropout)
        return self.residual(x, self.feed_forward, self.feed_forward_norm, self.dropout)
