"""Small models of running text and of classes, with their prepared data, as trainings leave them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stepladder.data.preparing.text import prepare
from stepladder.params import Params, build
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.trained import SpecialTokens, read_tokenizer

LINES = ["The cat sat on the mat.", "A dog ran – far away!", "", "Nobody saw the cat;", "the dog was seen by all."]
SMALL: dict[str, Any] = {"d_model": 16, "d_ff": 32, "num_heads": 2, "layers": 2, "dropout": 0.0}


def lines(folder: Path, tokenizer: str = "bpe", **options: Any) -> Params:
    """Running text in ``folder/text`` and a causal model of it in ``folder/model``, of a context of 16 tokens."""
    (folder / "book.txt").write_text("\n".join(f"{i}. {line}" for i in range(30) for line in LINES) + "\n")
    text = {"task": "lines", "source": str(folder / "book.txt"), "tokenizer": tokenizer, "vocab_size": 80}
    return _made(folder, text, "decoder", lambda size, pad, _: (
        CausalLM, {"vocab_size": size, "pad": pad, "max_length": 16, **SMALL, **options}, {"context": 16},
    ))  # fmt: skip


def masked(folder: Path) -> Params:
    """Running text in ``folder/text`` and a masked model of it in ``folder/model``, of a context of 16 tokens."""
    (folder / "book.txt").write_text("\n".join(f"{i}. {line}" for i in range(30) for line in LINES) + "\n")
    text = {"task": "lines", "source": str(folder / "book.txt"), "tokenizer": "char"}
    return _made(folder, text, "encoder", lambda size, pad, _: (
        MaskedLM, {"vocab_size": size, "pad": pad, "max_length": 16, **SMALL}, {"task": "masked_lm", "context": 16},
    ))  # fmt: skip


def labels(folder: Path) -> Params:
    """Texts with a class in ``folder/text`` and a classifier of them in ``folder/model``."""
    rows = [
        {"text": f"{w} {i}", "label": kind}
        for i in range(40)
        for w, kind in (("red", "colour"), ("oak", "tree"), ("elm", "tree"))
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = {"task": "labels", "source": str(folder / "texts.jsonl"), "tokenizer": "char", "max_length": 16}
    return _made(folder, text, "encoder", lambda size, pad, card: (
        TextClassifier,
        {"vocab_size": size, "pad": pad, "max_length": 16, "classes": len(card["classes"]), **SMALL},
        {"classes": card["classes"], "max_length": 16},
    ))  # fmt: skip


def _made(folder: Path, text: dict[str, Any], architecture: str, described: Any) -> Params:
    params = build(
        {
            "text": text,
            "transformer": {"architecture": architecture, "context": 16, "training": {"batch_size": 64}},
            "evaluation": {"bootstrap": 20},
            "promotion": {"above_baseline": False},
            "decoding": {"method": "sample", "max_length": 20},
        }
    )
    card = prepare(params, folder / "text")
    tokenizer = read_tokenizer(folder / "text" / "tokenizer.json")
    kind, options, further = described(tokenizer.get_vocab_size(), SpecialTokens.of(tokenizer).pad, card)
    torch.manual_seed(0)
    model: nn.Module = kind(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    (folder / "model").mkdir()
    save_file(dict(model.named_parameters()), folder / "model" / "model.safetensors")
    config = {"task": text["task"], "architecture": architecture, "model": options, **further}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    (folder / "model" / "tokenizer.json").write_bytes((folder / "text" / "tokenizer.json").read_bytes())
    return params
