"""A translation model in the format of CTranslate2, which translates on CPUs and GPUs without PyTorch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn

from stepladder.errors import UserError
from stepladder.transformer.blocks.positions import AbsolutePositions, sinusoidal
from stepladder.transformer.networks.description import TranslationDescription
from stepladder.transformer.networks.seq2seq import Seq2Seq

POSITIONS = 1024  # sinusoidal ones that are written: the longest text that the exported model reads


def export(model: Seq2Seq, tokenizer: Tokenizer, description: TranslationDescription, folder: Path) -> None:
    """Write ``model``, its ``tokenizer.json`` and ``stepladder.json`` to ``folder``, which must not be there yet.

    Sources are given to CTranslate2 as tokens: the language's tag where the model knows several, the text's, ``</s>``.

    Raises:
        UserError: CTranslate2 is not installed or has no such mechanism, or the folder is there already.
    """
    try:
        import ctranslate2
    except ImportError:
        raise UserError("CTranslate2 is not installed; `pip install stepladder[serving]` brings it.") from None
    if folder.exists():
        raise UserError(f"{folder} is there already; name a folder that is not, or remove it.")
    spec = _spec(ctranslate2.specs, model)
    _fill(spec, model)
    vocabulary = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.decoder_start_token = "<s>"
    spec.validate()
    spec.optimize()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        model_folder = Path(temporary) / "model"
        model_folder.mkdir()
        spec.save(str(model_folder))
        tokenizer.save(str(model_folder / "tokenizer.json"))
        (model_folder / "stepladder.json").write_text(description.to_json(), encoding="utf-8")
        shutil.move(model_folder, folder)


def _spec(specs: Any, model: Seq2Seq) -> Any:
    """CTranslate2's description of a Transformer like ``model``, without weights; ``UserError`` where there is none."""
    options = model.options
    supported = {
        "norm_type": ("layer",), "positions": ("sinusoidal", "learned"), "attention_scale": ("sqrt",), "kv_heads": (0, options.num_heads),
    }  # fmt: skip
    for name, values in supported.items():
        if (value := getattr(options, name)) not in values:
            raise UserError(
                f"The model has transformer.{name}={value}, of which no CTranslate2 model is made here; train one with "
                f"{name}={values[0]}."
            )
    activations = specs.common_spec.Activation
    return specs.TransformerSpec.from_config(
        (len(model.encoder), len(model.decoder)),
        options.num_heads,
        pre_norm=options.norm == "pre",
        activation={
            "relu": activations.RELU, "gelu": activations.GELU, "gelu_tanh": activations.GELUTanh, "silu": activations.SWISH,
            "swiglu": activations.SWISH,
        }[options.activation],
        ffn_glu=options.activation == "swiglu",
    )  # fmt: skip


def _fill(spec: Any, model: Seq2Seq) -> None:
    """Put the weights of ``model`` where ``spec`` has them."""
    options = model.options
    for side, embed, table, norm in (
        (spec.encoder, model.embed_source, model.source_embedding, model.encoder_norm),
        (spec.decoder, model.embed_target, model.target_embedding, model.decoder_norm),
    ):
        side.scale_embeddings = embed.factor != 1
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = _array(table)
        side.position_encodings.encodings = _array(_positions(embed.positions, options.d_model))
        if options.norm == "pre":
            _norm(side.layer_norm, norm)
    ours: Any
    for ours, theirs in zip(model.encoder, spec.encoder.layer, strict=True):
        _self_attention(theirs.self_attention, ours.self_attention, ours.attention_norm)
        _feed_forward(theirs.ffn, ours)
    for ours, theirs in zip(model.decoder, spec.decoder.layer, strict=True):
        _self_attention(theirs.self_attention, ours.self_attention, ours.self_norm)
        _linear(theirs.attention.linear[0], ours.cross_attention.query)
        _linear(theirs.attention.linear[1], ours.cross_attention.key_value)
        _linear(theirs.attention.linear[2], ours.cross_attention.output)
        _norm(theirs.attention.layer_norm, ours.cross_norm)
        _feed_forward(theirs.ffn, ours)
    spec.decoder.projection.weight = _array(model.output)
    if model.output_bias is not None:
        spec.decoder.projection.bias = _array(model.output_bias)


def _self_attention(theirs: Any, ours: Any, norm: nn.Module) -> None:
    _linear(theirs.linear[0], ours.query_key_value)
    _linear(theirs.linear[1], ours.output)
    _norm(theirs.layer_norm, norm)


def _feed_forward(theirs: Any, ours: Any) -> None:
    inner, outer = ours.feed_forward.inner, ours.feed_forward.outer
    if hasattr(theirs, "linear_0_noact"):  # SwiGLU: the gate, then the value
        for part, weight, bias in zip(
            (theirs.linear_0, theirs.linear_0_noact), inner.weight.chunk(2), inner.bias.chunk(2), strict=True
        ):
            part.weight, part.bias = _array(weight), _array(bias)
    else:
        _linear(theirs.linear_0, inner)
    _linear(theirs.linear_1, outer)
    _norm(theirs.layer_norm, ours.feed_forward_norm)


def _linear(theirs: Any, ours: Any) -> None:
    theirs.weight, theirs.bias = _array(ours.weight), _array(ours.bias)


def _norm(theirs: Any, ours: Any) -> None:
    theirs.gamma, theirs.beta = _array(ours.weight), _array(ours.bias)


def _positions(ours: AbsolutePositions, d_model: int) -> Tensor:
    return ours.table if ours.learned and ours.table is not None else sinusoidal(POSITIONS, d_model)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().contiguous().numpy()
