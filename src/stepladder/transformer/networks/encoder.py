"""The encoder-only Transformer: one vector per token, which depends on the full text (Devlin et al. 2019, "BERT")."""

from __future__ import annotations

from torch import Tensor, nn

from stepladder.transformer.blocks.attention import padding_mask
from stepladder.transformer.blocks.layers import EncoderLayer, LayerOptions, run, stack
from stepladder.transformer.networks.embedding import Embedding, table


class Encoder(nn.Module):
    """Embedding and layers, which ``MaskedLM`` trains and ``TextClassifier`` takes over.

    Args:
        embedding_scale: embeddings times ``sqrt(d_model)``; BERT has none.
        embedding_norm: a normalisation of the embeddings, as BERT has.
    """

    def __init__(
        self,
        vocab_size: int,
        layers: int,
        pad: int,
        max_length: int,
        options: LayerOptions,
        embedding_scale: bool = True,
        embedding_norm: bool = False,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.pad, self.checkpointing = pad, activation_checkpointing
        self.embedding = table(vocab_size, options.d_model)
        self.embed = Embedding(options, max_length, embedding_scale, embedding_norm)
        self.layers = stack(EncoderLayer, layers, options)
        self.norm = options.final_normalisation()

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens`` ``(B, T)`` to ``(B, T, d_model)``; nothing attends to padding."""
        x, mask = self.embed(tokens, self.embedding), padding_mask(tokens, self.pad)
        for layer in self.layers:
            x = run(layer, x, mask, checkpointing=self.checkpointing)
        result: Tensor = self.norm(x)
        return result
