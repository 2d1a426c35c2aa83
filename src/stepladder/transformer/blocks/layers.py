"""Encoder and decoder layers (Vaswani et al. 2017, section 3.1): sublayers, residuals and layer normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stepladder.transformer.blocks.attention import CrossAttention, SelfAttention
from stepladder.transformer.blocks.cache import Cache
from stepladder.transformer.blocks.dropout import Dropout, DropPath
from stepladder.transformer.blocks.linear import Linear

Function = Callable[[Tensor], Tensor]
Residual = Callable[[Tensor, Function, Function, Function], Tensor]


@dataclass(frozen=True)
class LayerOptions:
    """What a layer is made of; every model takes the optional ones as keywords.

    Attributes:
        norm: "post" as published, or "pre".
        norm_type: "layer" or "rms" (Zhang and Sennrich 2019).
        activation: of the feed-forward sublayer; see ``ACTIVATIONS``.
        positions: "sinusoidal", "learned", "rotary", "alibi" or "none".
        attention_scale: "sqrt", "none" or "learned".
        kv_heads: heads of keys and values; 0: as many as of queries.
        drop_path: probability that the last layer's sublayers are skipped, growing linearly with depth (Huang et al. 2016).
    """

    d_model: int
    d_ff: int
    num_heads: int
    dropout: float
    norm: str = "pre"
    norm_type: str = "layer"
    norm_eps: float = 1e-5
    activation: str = "relu"
    positions: str = "sinusoidal"
    attention_scale: str = "sqrt"
    kv_heads: int = 0
    drop_path: float = 0.0

    def normalisation(self) -> nn.Module:
        """A norm as a layer has it."""
        return NORMS[self.norm_type](self.d_model, eps=self.norm_eps)

    def final_normalisation(self) -> nn.Module:
        """After the last layer: what pre-norm leaves unnormalised."""
        return self.normalisation() if self.norm == "pre" else nn.Identity()


def post_norm(x: Tensor, sublayer: Function, norm: Function, dropout: Function) -> Tensor:
    """``LayerNorm(x + Dropout(Sublayer(x)))``, as published (sections 3.1 and 5.4)."""
    return norm(x + dropout(sublayer(x)))


def pre_norm(x: Tensor, sublayer: Function, norm: Function, dropout: Function) -> Tensor:
    """``x + Dropout(Sublayer(LayerNorm(x)))`` (Xiong et al. 2020): trains without a long warm-up."""
    return x + dropout(sublayer(norm(x)))


def swiglu(x: Tensor) -> Tensor:
    """``Swish(x W) * (x V)`` of ``x`` ``(..., 2 d_ff)``, both products side by side (Shazeer 2020, equation 6)."""
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


RESIDUALS: dict[str, Residual] = {"post": post_norm, "pre": pre_norm}
NORMS: dict[str, Callable[..., nn.Module]] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}
ACTIVATIONS: dict[str, Function] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # GPT-2's
    "silu": F.silu,  # Marian's "swish"
    "swiglu": swiglu,
}


class FeedForward(nn.Module):
    """``max(0, x W_1 + b_1) W_2 + b_2`` at every position (section 3.3, equation 2), or with another activation.

    SwiGLU has a third matrix of the size of ``W_1``: two thirds of ``d_ff`` give the parameters of the others.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "relu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.inner = Linear(d_model, 2 * d_ff if activation == "swiglu" else d_ff)
        self.outer = Linear(d_ff, d_model)
        for linear in (self.inner, self.outer):
            for part in torch.split(linear.weight.detach(), d_ff if linear is self.inner else d_model):
                nn.init.xavier_uniform_(part)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d_model)`` to the same shape."""
        result: Tensor = self.outer(self.activation(self.inner(x)))
        return result


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each with its residual and normalisation; causal, a decoder-only model's layer."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.residual = RESIDUALS[options.norm]
        self.self_attention = _self_attention(options)
        self.feed_forward = FeedForward(options.d_model, options.d_ff, options.activation)
        self.attention_norm, self.feed_forward_norm = options.normalisation(), options.normalisation()
        self.dropout = _dropout(options)

    def forward(self, x: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
        """``x`` ``(B, S, d_model)`` to the same shape; ``mask`` hides padding, ``causal`` what comes after."""
        return self._layer(x, lambda h: self.self_attention(h, mask, causal))

    def step(self, x: Tensor, cache: Cache, layer: int) -> Tensor:
        """The next positions ``x`` ``(R, T, d_model)`` of every row, causal; more than one only into an empty cache."""

        def self_attention(h: Tensor) -> Tensor:
            query, key, value = self.self_attention.project(h, cache.length)
            return self.self_attention.finish(query, *cache.put(layer, key, value), causal=h.shape[1] > 1)

        return self._layer(x, self_attention)

    def _layer(self, x: Tensor, self_attention: Function) -> Tensor:
        x = self.residual(x, self_attention, self.attention_norm, self.dropout)
        return self.residual(x, self.feed_forward, self.feed_forward_norm, self.dropout)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the encoder, then feed-forward."""

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.residual = RESIDUALS[options.norm]
        self.self_attention = _self_attention(options)
        self.cross_attention = CrossAttention(
            options.d_model, options.num_heads, options.attention_scale, options.kv_heads
        )
        self.feed_forward = FeedForward(options.d_model, options.d_ff, options.activation)
        self.self_norm, self.cross_norm, self.feed_forward_norm = (options.normalisation() for _ in range(3))
        self.dropout = _dropout(options)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """``x`` ``(B, T, d_model)`` and ``memory`` ``(B, S, d_model)`` to ``(B, T, d_model)``.

        Padding at the end of ``x`` needs no mask: causality hides it from what comes before.
        """
        return self._layer(
            x,
            lambda h: self.self_attention(h, causal=True),
            lambda h: self.cross_attention(h, memory, memory_mask),
        )

    def step(self, x: Tensor, cache: Cache, layer: int) -> Tensor:
        """The next position ``x`` ``(B, K, d_model)`` of each of the ``K`` hypotheses of each of ``B`` sentences."""

        def self_attention(h: Tensor) -> Tensor:
            query, key, value = self.self_attention.project(h.flatten(0, 1).unsqueeze(1), cache.length)
            return self.self_attention.finish(query, *cache.put(layer, key, value)).view_as(h)

        return self._layer(
            x, self_attention, lambda h: self.cross_attention.finish(h, *cache.cross[layer], cache.memory_mask)
        )

    def _layer(self, x: Tensor, self_attention: Function, cross_attention: Function) -> Tensor:
        x = self.residual(x, self_attention, self.self_norm, self.dropout)
        x = self.residual(x, cross_attention, self.cross_norm, self.dropout)
        return self.residual(x, self.feed_forward, self.feed_forward_norm, self.dropout)


def stack(kind: Callable[[LayerOptions], nn.Module], layers: int, options: LayerOptions) -> nn.ModuleList:
    """``layers`` layers of a ``kind``; the deeper a layer, the likelier it is skipped (Huang et al. 2016, equation 4)."""
    return nn.ModuleList(
        kind(replace(options, drop_path=options.drop_path * (depth + 1) / layers)) for depth in range(layers)
    )


def run(layer: nn.Module, x: Tensor, *others: Any, checkpointing: bool) -> Tensor:
    """``layer(x, *others)``; with ``checkpointing``, its activations are not kept but computed again for the gradients."""
    if checkpointing and torch.is_grad_enabled():
        result: Tensor = checkpoint(layer, x, *others, use_reentrant=False)
    else:
        result = layer(x, *others)
    return result


def _self_attention(options: LayerOptions) -> SelfAttention:
    return SelfAttention(
        options.d_model, options.num_heads, options.positions, options.attention_scale, options.kv_heads
    )


def _dropout(options: LayerOptions) -> nn.Module:
    dropout = Dropout(options.dropout)
    return nn.Sequential(dropout, DropPath(options.drop_path)) if options.drop_path else dropout
