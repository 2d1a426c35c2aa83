"""The masked language model (Devlin et al. 2019, "BERT", section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stepladder.transformer.blocks.layers import LayerOptions
from stepladder.transformer.blocks.linear import Linear, linear
from stepladder.transformer.networks.encoder import Encoder


class MaskedLM(nn.Module):
    """Maps a text with some tokens masked to scores of what every token is.

    Args:
        vocab_size: entries of the vocabulary, ``V``.
        pad: token that fills up rows of a batch; nothing attends to it.
        max_length: positions that are learned; of sinusoidal ones those kept, and longer inputs extend them.
        embedding_scale, embedding_norm: see ``Encoder``.
        activation_checkpointing: less memory for a second forward.
        options: see ``LayerOptions``.
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
        max_length: int = 256,
        *,
        embedding_scale: bool = True,
        embedding_norm: bool = False,
        activation_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.pad = pad
        self.options = LayerOptions(d_model, d_ff, num_heads, dropout, **options)
        self.encoder = Encoder(
            vocab_size, layers, pad, max_length, self.options, embedding_scale, embedding_norm, activation_checkpointing
        )
        self.head = nn.Sequential(Linear(d_model, d_model), nn.GELU(), self.options.normalisation())
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``(B, T, V)`` of what stands at each place of ``tokens`` ``(B, T)``."""
        return self.logits(self.hidden(tokens))

    def encode(self, tokens: Tensor) -> Tensor:
        """A vector for each of ``tokens`` ``(B, T)``: ``(B, T, d_model)``."""
        encoded: Tensor = self.encoder(tokens)
        return encoded

    def hidden(self, tokens: Tensor) -> Tensor:
        """``(B, T, d_model)``: what ``logits`` needs."""
        result: Tensor = self.head(self.encode(tokens))
        return result

    def logits(self, hidden: Tensor) -> Tensor:
        """``(..., d_model)`` to scores ``(..., V)``, by the embeddings' matrix."""
        return linear(hidden, self.output, self.output_bias)

    @property
    def output(self) -> Tensor:
        """``(V, d_model)``: the embeddings' matrix, which is the output's too."""
        return self.encoder.embedding
