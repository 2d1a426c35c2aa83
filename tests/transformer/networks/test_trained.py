import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stepladder.errors import UserError
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.description import MaskedLMDescription, TranslationDescription
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import SpecialTokens, load, read_tokenizer
from tests.transformer.prepared import prepare

SMALL: dict[str, Any] = {"vocab_size": 64, "d_model": 16, "d_ff": 32, "num_heads": 2, "dropout": 0.0, "pad": 0}
MODELS: dict[str, tuple[type[nn.Module], dict[str, Any], dict[str, Any]]] = {
    "pairs": (Seq2Seq, {"encoder_layers": 1, "decoder_layers": 1, "norm": "pre", "tie_embeddings": True}, {"target_languages": ["de"], "max_length": 9}),
    "decoder": (CausalLM, {"layers": 1}, {"task": "lines", "architecture": "decoder", "context": 9}),
    "untied": (CausalLM, {"layers": 1, "tie_embeddings": False}, {"task": "lines", "architecture": "decoder", "context": 9}),
    "masked": (MaskedLM, {"layers": 1}, {"task": "masked_lm", "architecture": "encoder", "context": 9}),
    "classes": (
        TextClassifier, {"layers": 1, "classes": 3, "max_length": 16}, {"task": "labels", "architecture": "encoder", "classes": ["a", "b", "c"], "max_length": 16},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("text")) / "tokenizer.json"


def save(name: str, folder: Path, tokenizer: Path) -> nn.Module:
    """A model of ``MODELS`` as a training leaves it: a matrix that has two names is stored under one of them."""
    kind, options, config = MODELS[name]
    torch.manual_seed(1)
    model = kind(**SMALL, **options)
    save_file(dict(model.named_parameters()), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"model": SMALL | options}))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    return model


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_is_loaded_as_it_was(name: str, tmp_path: Path, tokenizer: Path) -> None:
    trained = save(name, tmp_path, tokenizer)
    model, _, config = load(tmp_path)
    assert type(model) is type(trained)
    assert not model.training
    assert config.model.d_model == 16
    assert trained.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(weight, model.state_dict()[key]) for key, weight in trained.state_dict().items())


def test_a_model_of_another_kind_is_refused_with_the_verb_that_uses_it(tmp_path: Path, tokenizer: Path) -> None:
    save("decoder", tmp_path, tokenizer)
    with pytest.raises(UserError, match=r"a causal language model, not a translation model; `stepladder generate`"):
        load(tmp_path, TranslationDescription)
    with pytest.raises(UserError, match=r"a causal language model, not a masked language model"):
        load(tmp_path, MaskedLMDescription)
    (tmp_path / "config.json").write_text(json.dumps({"task": "songs", "model": {}}))
    with pytest.raises(UserError, match=r'task="songs"'):
        load(tmp_path)


def test_missing_files_and_other_weights_are_named(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(UserError, match=r"it has no config.json; .* make one with `stepladder train transformer`"):
        load(tmp_path)
    save("pairs", tmp_path, tokenizer)
    save_file({"target_embedding": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    for damage in (lambda: None, lambda: (tmp_path / "model.safetensors").write_bytes(b"half")):
        damage()
        with pytest.raises(UserError, match="damaged, or not those of its config"):
            load(tmp_path)


def test_a_tokenizer_must_be_there_and_have_the_tokens_that_are_no_text(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer at"):
        read_tokenizer(tmp_path / "tokenizer.json")
    known = read_tokenizer(tokenizer)
    assert SpecialTokens.of(known) == SpecialTokens(*(known.token_to_id(name) for name in ("<pad>", "<s>", "</s>")))
    (tmp_path / "tokenizer.json").write_text(tokenizer.read_text().replace("</s>", "<eos>"))
    with pytest.raises(UserError, match="has no token </s>"):
        SpecialTokens.of(read_tokenizer(tmp_path / "tokenizer.json"))
