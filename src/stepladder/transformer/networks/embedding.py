"""What enters the first layer of every model (Vaswani et al. 2017, sections 3.4, 3.5 and 5.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.transformer.blocks.dropout import Dropout
from stepladder.transformer.blocks.layers import LayerOptions
from stepladder.transformer.blocks.positions import AbsolutePositions


def table(vocab_size: int, d_model: int) -> nn.Parameter:
    """A vector for every token, of length 1 on average: ``(V, d_model)``."""
    return nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)


class Embedding(nn.Module):
    """``Dropout(sqrt(d_model) E[token] + position)``; the table ``E`` is the model's, which may share it with its output.

    Args:
        max_length: see ``AbsolutePositions``.
        scaled: False leaves out ``sqrt(d_model)``, as GPT-2 and BERT do.
        normalised: a normalisation before the dropout, as BERT has.
    """

    def __init__(self, options: LayerOptions, max_length: int, scaled: bool = True, normalised: bool = False) -> None:
        super().__init__()
        self.factor = math.sqrt(options.d_model) if scaled else 1.0
        self.positions = AbsolutePositions(options.positions, max_length, options.d_model)
        self.norm = options.normalisation() if normalised else nn.Identity()
        self.dropout = Dropout(options.dropout)

    def forward(self, tokens: Tensor, table: Tensor, start: int = 0) -> Tensor:
        """Tokens ``(B, T)``, which stand at positions from ``start`` on, to ``(B, T, d_model)``."""
        embedded = F.embedding(tokens, table)
        if self.factor != 1.0:
            embedded = embedded * self.factor
        result: Tensor = self.dropout(self.norm(self.positions(embedded, start)))
        return result
