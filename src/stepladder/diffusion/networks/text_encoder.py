"""The text encoder (Vaswani et al. 2017, section 3.1), which is trained together with the denoising network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.errors import UserError
from stepladder.transformer.blocks.dropout import Dropout
from stepladder.transformer.blocks.layers import EncoderLayer, LayerOptions
from stepladder.transformer.blocks.positions import sinusoidal

PAD = 0


class TextEncoder(nn.Module):
    """Token numbers to context vectors, one a token; no text is one learned vector.

    Args:
        vocabulary: entries; 0 is padding.
        length: tokens of the longest text, ``L``.
        d_model: width; the feed-forward layers are four times as wide.
        depth: layers, normalised before each sublayer and once at the end.

    Raises:
        UserError: the width is odd, or not a multiple of the heads.
    """

    def __init__(self, vocabulary: int, length: int, d_model: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        if d_model % 2 or d_model % heads:
            raise UserError(
                f"diffusion.text_encoder.d_model={d_model} must be even and a multiple of its heads={heads}; change one of them."
            )
        self.scale = math.sqrt(d_model)
        self.embedding = nn.Parameter(torch.randn(vocabulary, d_model) / self.scale)
        self.null = nn.Parameter(torch.randn(d_model))
        options = LayerOptions(d_model, 4 * d_model, heads, dropout)
        self.layers = nn.ModuleList(EncoderLayer(options) for _ in range(depth))
        self.norm, self.dropout = nn.LayerNorm(d_model), Dropout(dropout)
        self.register_buffer("positions", sinusoidal(length, d_model), persistent=False)
        self.positions: Tensor

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """The context ``(N, L, d_model)`` of ``text`` ``(N, L)``, and where to attend, ``(N, L)``, true for tokens.

        A row of padding is no text: its context is the learned vector at position 0, and only that is attended to. The
        context is zero wherever the mask is false.
        """
        none = (text == PAD).all(dim=1, keepdim=True)
        first = torch.arange(text.shape[1], device=text.device) == 0
        mask = (text != PAD) | (none & first)
        x = self.dropout(F.embedding(text, self.embedding) * self.scale + self.positions[: text.shape[1]])
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        x = torch.where(none[..., None], self.null.to(x.dtype), self.norm(x))
        return x * mask[..., None], mask
