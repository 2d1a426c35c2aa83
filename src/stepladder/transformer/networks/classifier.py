"""Classifying texts with an encoder, from scratch or from a masked language model's weights (Devlin et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stepladder.transformer.blocks.dropout import Dropout
from stepladder.transformer.blocks.layers import LayerOptions
from stepladder.transformer.networks.encoder import Encoder


class TextClassifier(nn.Module):
    """Maps a text to scores of its classes.

    A masked language model's encoder is taken over by ``classifier.encoder.load_state_dict(masked_lm.encoder.state_dict())``;
    the names of its weights begin with ``encoder.`` in both.

    Args:
        vocab_size, pad, max_length, embedding_scale, embedding_norm, activation_checkpointing, options: as ``MaskedLM``'s.
        classes: number of classes, ``C``.
        pooling: "mean" of the tokens' vectors, or the "first" token's, as BERT.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        d_ff: int,
        num_heads: int,
        layers: int,
        dropout: float,
        pad: int,
        max_length: int,
        classes: int,
        *,
        pooling: str = "mean",
        embedding_scale: bool = True,
        embedding_norm: bool = False,
        activation_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.pad, self.pooling = pad, pooling
        self.options = LayerOptions(d_model, d_ff, num_heads, dropout, **options)
        self.encoder = Encoder(
            vocab_size, layers, pad, max_length, self.options, embedding_scale, embedding_norm, activation_checkpointing
        )
        self.pool = nn.Sequential(nn.Linear(d_model, d_model), nn.Tanh())
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(d_model, classes))

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens`` ``(B, T)`` to scores ``(B, C)``."""
        scores: Tensor = self.head(self.pool(self.pooled(self.encoder(tokens), tokens)))
        return scores

    def pooled(self, encoded: Tensor, tokens: Tensor) -> Tensor:
        """One vector a text, ``(B, d_model)``, of ``encoded`` ``(B, T, d_model)``."""
        if self.pooling == "first":
            return encoded[:, 0]
        weights = (tokens != self.pad).to(encoded.dtype)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("bt,btd->bd", weights, encoded)
