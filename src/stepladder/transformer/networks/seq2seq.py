"""The encoder-decoder Transformer (Vaswani et al. 2017, "Attention Is All You Need")."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stepladder.transformer.blocks.attention import padding_mask
from stepladder.transformer.blocks.cache import Cache
from stepladder.transformer.blocks.layers import DecoderLayer, EncoderLayer, LayerOptions, run, stack
from stepladder.transformer.blocks.linear import linear
from stepladder.transformer.networks.embedding import Embedding, table


class Seq2Seq(nn.Module):
    """Maps tokens of a source, and of a target so far, to scores of the target's next token.

    Args:
        vocab_size: entries of the joint vocabulary, ``V``.
        pad: token that fills up sentences of a batch; nothing attends to it in the source.
        max_length: positions that are learned; of sinusoidal ones those kept, and longer inputs extend them.
        norm: "post" as published, or "pre", which adds a last normalisation to encoder and decoder.
        tie_embeddings: one matrix for source, target and output (section 3.4).
        output_bias: a bias of the output, as Marian has.
        activation_checkpointing: less memory for a second forward.
        options: see ``LayerOptions``.
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
        *,
        embedding_scale: bool = True,
        output_bias: bool = False,
        activation_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.pad, self.checkpointing = pad, activation_checkpointing
        self.options = LayerOptions(d_model, d_ff, num_heads, dropout, norm, **options)
        self.target_embedding = table(vocab_size, d_model)
        self.source_embedding, self.output = self.target_embedding, self.target_embedding
        if not tie_embeddings:
            self.source_embedding, self.output = table(vocab_size, d_model), table(vocab_size, d_model)
        self.output_bias = nn.Parameter(torch.zeros(vocab_size)) if output_bias else None
        self.encoder = stack(EncoderLayer, encoder_layers, self.options)
        self.decoder = stack(DecoderLayer, decoder_layers, self.options)
        self.encoder_norm, self.decoder_norm = (self.options.final_normalisation() for _ in range(2))
        self.embed_source, self.embed_target = (Embedding(self.options, max_length, embedding_scale) for _ in range(2))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores ``(B, T, V)`` of the token after each of ``target`` ``(B, T)``, given ``source`` ``(B, S)``."""
        return self.logits(self.hidden(source, target))

    def hidden(self, source: Tensor, target: Tensor) -> Tensor:
        """``(B, T, d_model)``: what ``logits`` needs."""
        mask = self.source_mask(source)
        return self.decode(target, self.encode(source, mask), mask)

    def source_mask(self, source: Tensor) -> Tensor:
        """``(B, 1, 1, S)``: True where ``source`` ``(B, S)`` is not padding."""
        return padding_mask(source, self.pad)

    def encode(self, source: Tensor, mask: Tensor | None) -> Tensor:
        """The memory ``(B, S, d_model)`` of ``source`` ``(B, S)``."""
        x = self.embed_source(source, self.source_embedding)
        for layer in self.encoder:
            x = run(layer, x, mask, checkpointing=self.checkpointing)
        memory: Tensor = self.encoder_norm(x)
        return memory

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """``(B, T, d_model)``: what ``logits`` needs, for all positions of ``target`` ``(B, T)`` at once."""
        x = self.embed_target(target, self.target_embedding)
        for layer in self.decoder:
            x = run(layer, x, memory, memory_mask, checkpointing=self.checkpointing)
        decoded: Tensor = self.decoder_norm(x)
        return decoded

    def logits(self, decoded: Tensor) -> Tensor:
        """``(..., d_model)`` to scores ``(..., V)``."""
        return linear(decoded, self.output, self.output_bias)

    def start(self, source: Tensor, beams: int = 1) -> Cache:
        """Encode ``source`` ``(B, S)``; the cache from which ``step`` goes on, for ``beams`` hypotheses a sentence."""
        mask = self.source_mask(source)
        memory = self.encode(source, mask)
        projected = [layer.cross_attention.project(memory) for layer in self.decoder]  # type: ignore[union-attr, operator]
        cross = [(key.contiguous(), value.contiguous()) for key, value in projected]  # read at every step
        _, heads, _, d_head = cross[0][0].shape
        # None, or a mask to be added to the scores: attention would convert a boolean one at every step
        memory_mask = None if mask.all() else torch.zeros_like(mask, dtype=memory.dtype).masked_fill(~mask, -torch.inf)
        return Cache(len(cross), len(source) * beams, heads, d_head, memory, cross, memory_mask)

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Scores ``(B, K, V)`` after the newest ``tokens`` ``(B, K)`` of each hypothesis; moves ``cache`` on by one."""
        x = self.embed_target(tokens.flatten()[:, None], self.target_embedding, cache.length).view(*tokens.shape, -1)
        for i, layer in enumerate(self.decoder):
            x = layer.step(x, cache, i)  # type: ignore[operator]
        cache.advance()
        return self.logits(self.decoder_norm(x))
