"""The encoder-decoder Transformer (Vaswani et al. 2017, "Attention Is All You Need")."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stepladder.transformer.attention import padding_mask
from stepladder.transformer.cache import Cache
from stepladder.transformer.dropout import Dropout
from stepladder.transformer.layers import DecoderLayer, EncoderLayer
from stepladder.transformer.positions import sinusoidal


class Seq2Seq(nn.Module):
    """Tokens of a source and of a target so far to scores of the target's next token.

    Args:
        vocab_size: entries of the joint vocabulary, ``V``.
        pad: token that fills up sentences of a batch; nothing attends to it in the source.
        max_length: positions for which encodings are kept; longer inputs extend them.
        norm: "post" as published, or "pre", which adds a last normalisation to encoder and decoder.
        tie_embeddings: one matrix for source, target and output (section 3.4).
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        d_ff: int,
        num_heads: int,
        encoder_layers: int,
        decoder_layers: int,
        dropout: float,
        norm: str,
        tie_embeddings: bool,
        pad: int,
        max_length: int = 256,
    ) -> None:
        super().__init__()
        self.d_model, self.pad = d_model, pad
        self.target_embedding = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
        self.source_embedding, self.output = self.target_embedding, self.target_embedding
        if not tie_embeddings:
            self.source_embedding = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
            self.output = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, d_ff, num_heads, dropout, norm) for _ in range(encoder_layers)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(d_model, d_ff, num_heads, dropout, norm) for _ in range(decoder_layers)
        )
        self.encoder_norm = nn.LayerNorm(d_model) if norm == "pre" else nn.Identity()
        self.decoder_norm = nn.LayerNorm(d_model) if norm == "pre" else nn.Identity()
        self.dropout = Dropout(dropout)
        self.register_buffer("positions", sinusoidal(max_length, d_model), persistent=False)
        self.positions: Tensor

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores ``(B, T, V)`` of the token after each of ``target`` ``(B, T)``, given ``source`` ``(B, S)``."""
        mask = self.source_mask(source)
        return self.logits(self.decode(target, self.encode(source, mask), mask))

    def source_mask(self, source: Tensor) -> Tensor:
        """``(B, 1, 1, S)``: True where ``source`` ``(B, S)`` is not padding."""
        return padding_mask(source, self.pad)

    def encode(self, source: Tensor, mask: Tensor | None) -> Tensor:
        """The memory ``(B, S, d_model)`` of ``source`` ``(B, S)``."""
        x = self._embed(source, self.source_embedding, 0)
        for layer in self.encoder:
            x = layer(x, mask)
        return self.encoder_norm(x)

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """``(B, T, d_model)``: what ``logits`` needs, for all positions of ``target`` ``(B, T)`` at once."""
        x = self._embed(target, self.target_embedding, 0)
        for layer in self.decoder:
            x = layer(x, memory, memory_mask)
        return self.decoder_norm(x)

    def logits(self, decoded: Tensor) -> Tensor:
        """``(..., d_model)`` to scores ``(..., V)``."""
        return F.linear(decoded, self.output)

    def start(self, source: Tensor, beams: int = 1) -> Cache:
        """Encode ``source`` ``(B, S)``; the cache from which ``step`` goes on, for ``beams`` hypotheses a sentence."""
        mask = self.source_mask(source)
        memory = self.encode(source, mask)
        return Cache([layer.cross_attention.project(memory) for layer in self.decoder], mask, beams)  # type: ignore

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Scores ``(B, K, V)`` after the newest ``tokens`` ``(B, K)`` of each hypothesis; moves ``cache`` on by one."""
        x = self._embed(tokens.flatten()[:, None], self.target_embedding, cache.length).view(*tokens.shape, -1)
        for i, layer in enumerate(self.decoder):
            x = layer.step(x, cache.remember(i), cache.cross[i], cache.memory_mask)  # type: ignore[operator]
        cache.advance()
        return self.logits(self.decoder_norm(x))

    def _embed(self, tokens: Tensor, embedding: Tensor, start: int) -> Tensor:
        """``(B, T, d_model)``: embeddings times ``sqrt(d_model)``, plus positions from ``start`` on (section 3.4)."""
        end = start + tokens.shape[1]
        if end > len(self.positions):
            self.positions = sinusoidal(2 * end, self.d_model).to(self.positions)
        embedded = F.embedding(tokens, embedding) * math.sqrt(self.d_model)
        return self.dropout(embedded + self.positions[start:end])
