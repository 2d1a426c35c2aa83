import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from stepladder.errors import UserError
from stepladder.transformer.ctranslate2_export import export
from stepladder.transformer.inference.decoding import beam_search, greedy
from stepladder.transformer.networks.description import TranslationDescription
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import SpecialTokens, read_tokenizer
from tests.transformer.prepared import prepare

ctranslate2 = pytest.importorskip("ctranslate2")
OPTIONS: dict[str, dict[str, Any]] = {
    "pre": {},
    "post, untied, bias": {"norm": "post", "tie_embeddings": False, "output_bias": True},
    "learned, gelu": {"positions": "learned", "activation": "gelu", "max_length": 64},
    "swiglu, unscaled": {"activation": "swiglu", "embedding_scale": False},
}
NETWORK = {"vocab_size": 64, "d_model": 16, "d_ff": 32, "num_heads": 2, "dropout": 0.0, "pad": 0, "encoder_layers": 1,
           "decoder_layers": 1, "norm": "pre", "tie_embeddings": True}  # fmt: skip
DESCRIBED = TranslationDescription.model_validate({"model": NETWORK, "target_languages": ["uk"], "max_length": 32})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return read_tokenizer(prepare(tmp_path_factory.mktemp("text")) / "tokenizer.json")


def model(tokenizer: Tokenizer, **options: Any) -> Seq2Seq:
    """Random weights that end their sentences now and then."""
    torch.manual_seed(0)
    special = SpecialTokens.of(tokenizer)
    network = Seq2Seq(
        tokenizer.get_vocab_size(), 16, 32, 4, 2, 3, 0.0, pad=special.pad, **{"norm": "pre", "tie_embeddings": False} | options
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        if options.get("tie_embeddings") is False:
            network.output[special.eos] = network.output[4:].mean(0) * 3 + torch.randn(16) * 0.4
    return network


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_exported_model_gives_the_same_tokens_and_scores(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    ours, special = model(tokenizer, **OPTIONS[name]), SpecialTokens.of(tokenizer)
    export(ours, tokenizer, DESCRIBED, tmp_path / "made" / "model")
    theirs = ctranslate2.Translator(str(tmp_path / "made" / "model"), device="cpu", intra_threads=1)
    ends = {"bos": special.bos, "eos": special.eos, "max_length": 12}
    sentences = [[*tokenizer.encode(text).ids, special.eos] for text in ("abc", "h", "gfedcba", "ba", "aabbccdd")]
    asked = [[tokenizer.id_to_token(i) for i in ids] for ids in sentences]
    longest = {"max_decoding_length": 12, "return_scores": True, "replace_unknowns": False}
    for ids, found in zip(sentences, theirs.translate_batch(asked, beam_size=1, **longest), strict=True):
        (expected,) = greedy(ours, torch.tensor([ids]), **ends)
        assert [tokenizer.token_to_id(t) for t in found.hypotheses[0]] == expected
    for ids, found in zip(
        sentences, theirs.translate_batch(asked, beam_size=4, length_penalty=0, **longest), strict=True
    ):
        (best,) = beam_search(ours, torch.tensor([ids]), beam_size=4, alpha=0.0, **ends)
        assert [tokenizer.token_to_id(t) for t in found.hypotheses[0]] == best[0].tokens
        assert found.scores[0] == pytest.approx(best[0].score, rel=1e-3)
    assert json.loads((tmp_path / "made" / "model" / "stepladder.json").read_text()) == json.loads(DESCRIBED.to_json())
    assert (tmp_path / "made" / "model" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "rotary"},
        {"positions": "alibi"},
        {"norm_type": "rms"},
        {"kv_heads": 2},
        {"attention_scale": "none"},
    ],
)
def test_what_it_has_not_is_refused_and_nothing_is_written(
    options: dict[str, Any], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(UserError, match=rf"transformer\.{name}={value}"):
        export(model(tokenizer, **options), tokenizer, DESCRIBED, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_as_it_is(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        export(model(tokenizer), tokenizer, DESCRIBED, tmp_path)
    assert not list(tmp_path.iterdir())
