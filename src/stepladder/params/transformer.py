"""The translation model and how it translates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stepladder.params.section import Section, Training


class Transformer(Section):
    """The translation model."""

    d_model: int = Field(96, ge=8, le=4096, description="width")
    d_ff: int = Field(384, ge=8, le=16384, description="width of the feed-forward layers")
    num_heads: int = Field(2, ge=1, le=64, description="attention heads")
    encoder_layers: int = Field(2, ge=1, le=48, description="encoder layers")
    decoder_layers: int = Field(2, ge=1, le=48, description="decoder layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout at the published places")
    norm: Literal["pre", "post"] = Field("pre", description="layer normalisation before or after each sublayer")
    tie_embeddings: bool = Field(True, description="one matrix for source, target and output")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of probability spread over the vocabulary")
    training: Training = Training(
        steps=3000,
        batch_size=512,
        learning_rate=5e-3,
        schedule="cosine",
        warmup_steps=300,
        weight_decay=0.1,
        beta2=0.98,
        ema_half_life=0.03,
        validate_every=500,
    )


class Decoding(Section):
    """How translations are found."""

    beam_size: int = Field(4, ge=1, le=64, description="hypotheses kept; 1: greedy")
    length_penalty: float = Field(1.0, ge=0, le=5, description="alpha of Wu et al. (2016)")
    max_length: int = Field(128, ge=1, le=4096, description="longest output in tokens")
