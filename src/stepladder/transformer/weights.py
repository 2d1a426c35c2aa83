"""Models of the ``transformers`` library as ours, with their weights: MarianMT, GPT-2 and BERT.

Each function takes a model of theirs and returns an equal one of ours, in evaluation. ``transformers`` itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stepladder.errors import UserError
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.seq2seq import Seq2Seq

# our modules to theirs; several of theirs are stacked to one matrix of ours
Modules = Mapping[str, tuple[str, ...]]
Model = TypeVar("Model", bound=nn.Module)

ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "swish": "silu", "silu": "silu"}

MARIAN_ENCODER: Modules = {
    "self_attention.query_key_value": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention.output": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "feed_forward.inner": ("fc1",),
    "feed_forward.outer": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}
MARIAN_DECODER: Modules = {
    **{ours: theirs for ours, theirs in MARIAN_ENCODER.items() if ours != "attention_norm"},
    "self_norm": ("self_attn_layer_norm",),
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.output": ("encoder_attn.out_proj",),
    "cross_norm": ("encoder_attn_layer_norm",),
}
GPT2: Modules = {
    "self_attention.query_key_value": ("attn.c_attn",),
    "self_attention.output": ("attn.c_proj",),
    "attention_norm": ("ln_1",),
    "feed_forward.inner": ("mlp.c_fc",),
    "feed_forward.outer": ("mlp.c_proj",),
    "feed_forward_norm": ("ln_2",),
}
BERT: Modules = {
    "self_attention.query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "self_attention.output": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "feed_forward.inner": ("intermediate.dense",),
    "feed_forward.outer": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}


def from_marian(model: nn.Module) -> Seq2Seq:
    """A ``MarianMTModel`` as ours; its decoder starts with the padding token.

    Raises:
        UserError: encoder and decoder differ in heads or widths, or have vocabularies of their own.
    """
    c, theirs = _config_and_weights(model)
    if (c.encoder_ffn_dim, c.encoder_attention_heads) != (c.decoder_ffn_dim, c.decoder_attention_heads):
        raise UserError("The Marian model's encoder and decoder differ in heads or feed-forward width; ours are alike.")
    if not (c.share_encoder_decoder_embeddings and c.tie_word_embeddings):
        raise UserError(
            "The Marian model has an embedding for each language; only those with one in common can be taken."
        )
    ours = Seq2Seq(
        c.vocab_size, c.d_model, c.encoder_ffn_dim, c.encoder_attention_heads, c.encoder_layers, c.decoder_layers, c.dropout,
        "post", True, c.pad_token_id, c.max_position_embeddings,
        embedding_scale=c.scale_embedding, output_bias=True, activation=_activation(c.activation_function),
    )  # fmt: skip
    weights = {
        **_layers(theirs, "encoder", c.encoder_layers, "model.encoder.layers", MARIAN_ENCODER),
        **_layers(theirs, "decoder", c.decoder_layers, "model.decoder.layers", MARIAN_DECODER),
        **dict.fromkeys(("source_embedding", "target_embedding", "output"), theirs["model.shared.weight"]),
        "output_bias": theirs["final_logits_bias"][0],
    }
    return _loaded(ours, {name: _interleaved(name, weight) for name, weight in weights.items()})


def from_gpt2(model: nn.Module) -> CausalLM:
    """A ``GPT2LMHeadModel`` as ours; it has no padding token, which ours takes to be the last of the vocabulary."""
    c, theirs = _config_and_weights(model)
    ours = CausalLM(
        c.vocab_size, c.n_embd, c.n_inner or 4 * c.n_embd, c.n_head, c.n_layer, c.resid_pdrop, c.vocab_size - 1,
        c.n_positions, embedding_scale=False, positions="learned", activation=_activation(c.activation_function),
        norm_eps=c.layer_norm_epsilon,
    )  # fmt: skip
    layers = _layers(theirs, "decoder", c.n_layer, "transformer.h", GPT2)
    # their matrices multiply from the right
    weights = {name: weight.T if weight.ndim == 2 else weight for name, weight in layers.items()} | {
        **dict.fromkeys(("embedding", "output"), theirs["transformer.wte.weight"]),
        "embed.positions.table": theirs["transformer.wpe.weight"],
        "decoder_norm.weight": theirs["transformer.ln_f.weight"],
        "decoder_norm.bias": theirs["transformer.ln_f.bias"],
    }
    return _loaded(ours, weights)


def from_bert(model: nn.Module) -> MaskedLM | TextClassifier:
    """A ``BertForMaskedLM`` or a ``BertForSequenceClassification`` as ours, for texts of one segment."""
    c, theirs = _config_and_weights(model)
    options: dict[str, Any] = {
        "norm": "post", "norm_eps": c.layer_norm_eps, "activation": _activation(c.hidden_act), "positions": "learned",
        "embedding_scale": False, "embedding_norm": True,
    }  # fmt: skip
    size = (
        c.vocab_size, c.hidden_size, c.intermediate_size, c.num_attention_heads, c.num_hidden_layers, c.hidden_dropout_prob,
        c.pad_token_id, c.max_position_embeddings,
    )  # fmt: skip
    embeddings = "bert.embeddings"
    weights = {
        **_layers(theirs, "encoder.layers", c.num_hidden_layers, "bert.encoder.layer", BERT),
        **_modules(theirs, {"encoder.embed.norm": (f"{embeddings}.LayerNorm",)}),
        "encoder.embedding": theirs[f"{embeddings}.word_embeddings.weight"],
        # every token is of the first segment
        "encoder.embed.positions.table": theirs[f"{embeddings}.position_embeddings.weight"]
        + theirs[f"{embeddings}.token_type_embeddings.weight"][0],
    }
    if "classifier.weight" in theirs:
        heads: Modules = {"pool.0": ("bert.pooler.dense",), "head.1": ("classifier",)}
        classifier = TextClassifier(*size, classes=len(theirs["classifier.weight"]), pooling="first", **options)
        return _loaded(classifier, weights | _modules(theirs, heads))
    transform = "cls.predictions.transform"
    heads = {"head.0": (f"{transform}.dense",), "head.2": (f"{transform}.LayerNorm",)}
    weights |= _modules(theirs, heads) | {"output_bias": theirs["cls.predictions.bias"]}
    return _loaded(MaskedLM(*size, **options), weights)


def _config_and_weights(model: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    return model.config, {name: weight.detach() for name, weight in model.state_dict().items()}


def _activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise UserError(f"The model's activation {name} is not among {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


def _modules(theirs: Mapping[str, Tensor], modules: Modules, ours: str = "", prefix: str = "") -> dict[str, Tensor]:
    """Weights and biases under our names."""
    return {
        f"{ours}{name}.{kind}": torch.cat([theirs[f"{prefix}{each}.{kind}"] for each in others])
        for name, others in modules.items()
        for kind in ("weight", "bias")
    }


def _layers(theirs: Mapping[str, Tensor], ours: str, count: int, prefix: str, modules: Modules) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for i in range(count):
        weights |= _modules(theirs, modules, f"{ours}.{i}.", f"{prefix}.{i}.")
    return weights


def _interleaved(name: str, weight: Tensor) -> Tensor:
    """A weight of Marian's, whose positions are all sines, then all cosines, for ours, in which they alternate.

    Dimensions of what layers pass on may stand in any order, if all weights that read or write it agree.
    """
    module = name.split(".")[-2] if "." in name else name
    if module == "output_bias" or (
        name.endswith("bias") and module in ("query_key_value", "query", "key_value", "inner")
    ):
        return weight
    writes = "norm" in module or (module in ("output", "outer") and "." in name)
    width = weight.shape[0 if writes else 1]
    order = torch.arange(width).view(2, -1).T.flatten()
    return weight[order] if writes else weight[:, order]


def _loaded(model: Model, weights: Mapping[str, Tensor]) -> Model:
    model.load_state_dict(weights)
    return model.eval()
