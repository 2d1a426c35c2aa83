"""The descriptions of language models, a record a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from stepladder.description import Count, Depth, Description, Name, Number, Record, read
from stepladder.text_tasks.tasks import TASKS


class Layers(Record):
    """Arguments that the networks have in common, see ``blocks.layers.LayerOptions``."""

    vocab_size: Count
    d_model: Count
    d_ff: Count
    num_heads: Count
    dropout: float
    pad: Number
    norm: Literal["pre", "post"] = "pre"
    norm_type: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-5
    activation: str = "relu"
    positions: Literal["sinusoidal", "learned", "rotary", "alibi", "none"] = "sinusoidal"
    attention_scale: Literal["sqrt", "none", "learned"] = "sqrt"
    kv_heads: Number = 0
    drop_path: float = 0.0
    embedding_scale: bool = True
    activation_checkpointing: bool = False


class Seq2SeqNetwork(Layers):
    """Arguments of ``seq2seq.Seq2Seq``."""

    encoder_layers: Depth
    decoder_layers: Depth
    norm: Literal["pre", "post"]
    tie_embeddings: bool
    max_length: Count = 256
    output_bias: bool = False


class CausalLMNetwork(Layers):
    """Arguments of ``causal_lm.CausalLM``."""

    layers: Depth
    tie_embeddings: bool = True
    max_length: Count = 256


class MaskedLMNetwork(Layers):
    """Arguments of ``masked_lm.MaskedLM``."""

    layers: Depth
    embedding_norm: bool = False
    max_length: Count = 256


class TextClassifierNetwork(Layers):
    """Arguments of ``classifier.TextClassifier``."""

    layers: Depth
    embedding_norm: bool = False
    max_length: Count
    classes: Count
    pooling: Literal["mean", "first"] = "mean"


class TextDescription(Description):
    """A language model; ``task`` is the form of the text that it works on, see ``params.text``."""

    identity: ClassVar[tuple[str, ...]] = ("version", "family", "architecture", "task")
    family: Literal["transformer"] = "transformer"
    task: str
    architecture: str
    model: Any


class TranslationDescription(TextDescription):
    """A model of sentence pairs.

    Attributes:
        max_length: tokens of a sentence, its tag and its end included.
    """

    kind: ClassVar[str] = "pairs"
    task: Literal["pairs"] = "pairs"
    architecture: Literal["encoder_decoder"] = "encoder_decoder"
    model: Seq2SeqNetwork
    source_language: str = ""
    target_languages: tuple[str, ...] = Field(min_length=1)
    max_length: Count


class CausalLMDescription(TextDescription):
    """A model of running text.

    Attributes:
        context: tokens that it was trained to read at once.
        tokens_per_character: of the validation text.
    """

    kind: ClassVar[str] = "lines"
    task: Literal["lines"] = "lines"
    architecture: Literal["decoder"] = "decoder"
    model: CausalLMNetwork
    context: Count
    tokens_per_character: float = 1.0


class MaskedLMDescription(TextDescription):
    """A model of hidden tokens.

    Attributes:
        mask_share: of the tokens, in its training; a model from before it was kept is judged with the published one.
    """

    kind: ClassVar[str] = "masked_lm"
    task: Literal["masked_lm"] = "masked_lm"
    architecture: Literal["encoder"] = "encoder"
    model: MaskedLMNetwork
    context: Count
    mask_share: float = 0.15


class TextClassifierDescription(TextDescription):
    """A model of the classes of texts.

    Attributes:
        max_length: tokens of a text, beginning and end included.
        base: folder of the masked model that its training started from; "": from scratch.
    """

    kind: ClassVar[str] = "labels"
    task: Literal["labels"] = "labels"
    architecture: Literal["encoder"] = "encoder"
    model: TextClassifierNetwork
    classes: tuple[Name, ...]
    max_length: Count
    base: str = ""


def every() -> tuple[type[TextDescription], ...]:
    """The descriptions of all text tasks."""
    return tuple(task.model.description.load() for task in TASKS.values())


def read_text(folder: Path) -> TextDescription:
    """The description of the language model in ``folder``, of whichever task; ``UserError`` as ``description.read``."""
    return read(folder, *every())
