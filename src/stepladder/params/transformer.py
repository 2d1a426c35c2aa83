"""The language model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepladder.params.section import Section, Training
from stepladder.values import Values

MECHANISMS = (
    "norm", "norm_type", "activation", "positions", "attention_scale", "kv_heads", "drop_path", "activation_checkpointing",
)  # fmt: skip


class Transformer(Section):
    """The language model."""

    architecture: Literal["encoder_decoder", "decoder", "encoder"] = Field(
        "encoder_decoder",
        description="encoder_decoder: of pairs; decoder: of lines (GPT); encoder: masked of lines, or a classifier of labels (BERT)",
    )
    d_model: int = Field(96, ge=8, le=4096, description="width")
    d_ff: int = Field(384, ge=8, le=16384, description="width of the feed-forward layers")
    num_heads: int = Field(2, ge=1, le=64, description="attention heads")
    kv_heads: int = Field(0, ge=0, le=64, description="heads of keys and values (grouped-query); 0: as num_heads")
    encoder_layers: int = Field(2, ge=1, le=48, description="encoder layers")
    decoder_layers: int = Field(2, ge=1, le=48, description="decoder layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout at the published places")
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="stochastic depth: a sublayer's chance to be left out, in the last layer"
    )
    norm: Literal["pre", "post"] = Field("pre", description="layer normalisation before or after each sublayer")
    norm_type: Literal["layer", "rms"] = Field("layer", description="LayerNorm or RMSNorm")
    activation: Literal["relu", "gelu", "swiglu"] = Field("relu", description="of the feed-forward layers")
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "none"] = Field(
        "sinusoidal", description="how the model knows the order"
    )
    attention_scale: Literal["sqrt", "none", "learned"] = Field(
        "sqrt", description="scores times 1/sqrt(d_k), 1, or learned"
    )
    activation_checkpointing: bool = Field(
        False, description="compute layers again in the backward pass: less memory, more time"
    )
    tie_embeddings: bool = Field(True, description="one matrix for source, target and output")
    context: int = Field(256, ge=8, le=65536, description="of lines: tokens of a block of running text")
    mask_share: float = Field(0.15, gt=0, lt=1, description="of a masked model: share of tokens to be found again")
    base: str = Field("", description="of a classifier: folder of the masked model it starts from; empty: from scratch")
    data_share: float = Field(
        1.0, gt=0, le=1, description="share of the training data used; a smaller one is part of a larger"
    )
    bpe_dropout: float = Field(0.0, ge=0, lt=1, description="of pairs: share of BPE merges left out in training")
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

    def mechanisms(self) -> Values:
        """The keyword arguments that every model of ``transformer/`` takes."""
        return self.model_dump(include=set(MECHANISMS))

    @model_validator(mode="after")
    def _combinations(self) -> Transformer:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"transformer.d_model={self.d_model} is not a multiple of transformer.num_heads={self.num_heads}"
            )
        if self.kv_heads and self.num_heads % self.kv_heads:
            raise ValueError(
                f"transformer.num_heads={self.num_heads} is not a multiple of transformer.kv_heads={self.kv_heads}"
            )
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(f"transformer.d_model={self.d_model} is odd; sinusoidal positions need an even width")
        if self.positions == "rotary" and self.d_model // self.num_heads % 2:
            raise ValueError(
                f"transformer.d_model={self.d_model} over num_heads={self.num_heads} is odd; rotary positions turn pairs: "
                "give an even width to each head"
            )
        if self.base and self.architecture != "encoder":
            raise ValueError(
                f"transformer.base={self.base} with architecture {self.architecture}; only a classifier starts from a masked "
                "model: set architecture to encoder"
            )
        if self.bpe_dropout and self.architecture != "encoder_decoder":
            raise ValueError(
                f"transformer.bpe_dropout={self.bpe_dropout:g} with architecture {self.architecture}; it is of sentence pairs: "
                "set it to 0, or architecture to encoder_decoder"
            )
        return self
