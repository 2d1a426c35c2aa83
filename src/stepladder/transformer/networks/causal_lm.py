"""The decoder-only Transformer, a causal language model (Radford et al. 2018, 2019: GPT, GPT-2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stepladder.transformer.blocks.cache import Cache
from stepladder.transformer.blocks.layers import EncoderLayer, LayerOptions, run, stack
from stepladder.transformer.blocks.linear import linear
from stepladder.transformer.networks.embedding import Embedding, table


class CausalLM(nn.Module):
    """Maps tokens of a text so far to scores of its next token.

    Padding at the end of a row needs no mask: causality hides it from what comes before.

    Args:
        vocab_size: entries of the vocabulary, ``V``.
        pad: token that fills up rows of a batch.
        max_length: positions that are learned; of sinusoidal ones those kept, and longer inputs extend them.
        tie_embeddings: one matrix for input and output.
        embedding_scale: embeddings times ``sqrt(d_model)``; GPT-2 has none.
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
        tie_embeddings: bool = True,
        embedding_scale: bool = True,
        activation_checkpointing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.pad, self.checkpointing = pad, activation_checkpointing
        self.options = LayerOptions(d_model, d_ff, num_heads, dropout, **options)
        self.embedding = table(vocab_size, d_model)
        self.output = self.embedding if tie_embeddings else table(vocab_size, d_model)
        self.output_bias = None
        self.embed = Embedding(self.options, max_length, embedding_scale)
        self.decoder = stack(EncoderLayer, layers, self.options)
        self.decoder_norm = self.options.final_normalisation()

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``(B, T, V)`` of the token after each of ``tokens`` ``(B, T)``."""
        return self.logits(self.hidden(tokens))

    def hidden(self, tokens: Tensor) -> Tensor:
        """``(B, T, d_model)``: what ``logits`` needs, for all positions of ``tokens`` ``(B, T)`` at once."""
        x = self.embed(tokens, self.embedding)
        for layer in self.decoder:
            x = run(layer, x, None, True, checkpointing=self.checkpointing)
        result: Tensor = self.decoder_norm(x)
        return result

    def logits(self, hidden: Tensor) -> Tensor:
        """``(..., d_model)`` to scores ``(..., V)``."""
        return linear(hidden, self.output)

    def start(self, prompt: Tensor | int, beams: int = 1) -> Cache:
        """The cache from which ``step`` goes on with the prompt's last token, for ``beams`` hypotheses a row.

        Args:
            prompt: ``(B, T)`` without padding, all but its last tokens are put in; or ``B`` alone, for an empty cache.
        """
        rows = prompt if isinstance(prompt, int) else len(prompt)
        heads, d_head = self.options.kv_heads or self.options.num_heads, self.options.d_model // self.options.num_heads
        cache = Cache(len(self.decoder), rows, heads, d_head, self.embedding)
        if not isinstance(prompt, int) and prompt.shape[1] > 1:
            self._cached(prompt[:, :-1], cache)
        if beams > 1:
            cache.reorder(torch.arange(rows, device=self.embedding.device).repeat_interleave(beams))
        return cache

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Scores ``(B, K, V)`` after the newest ``tokens`` ``(B, K)`` of each hypothesis; moves ``cache`` on by one."""
        return self.logits(self.decoder_norm(self._cached(tokens.reshape(-1, 1), cache))).view(*tokens.shape, -1)

    def _cached(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Run ``tokens`` ``(R, T)`` through all layers, which add to the cache: ``(R, T, d_model)``."""
        x: Tensor = self.embed(tokens, self.embedding, cache.length)
        for i, layer in enumerate(self.decoder):
            x = layer.step(x, cache, i)  # type: ignore[operator]
        cache.advance(tokens.shape[1])
        return x
