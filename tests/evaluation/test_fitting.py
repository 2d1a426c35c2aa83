"""A model of other days on the present prepared data: the same figures in other tokens, and what does not fit is said."""

import json
from pathlib import Path

import pytest

from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.evaluation.fitting import evaluate, family
from stepladder.params import Params, merge
from stepladder.params import build as built
from tests.transformer import running


def judged(folder: Path, params: Params, out: str) -> dict:
    return evaluate(params, folder / "model", {}, folder / "text", folder / "feature-net", folder / out, None)


def test_a_language_model_reads_the_held_out_text_in_its_own_tokens(tmp_path):
    params = running.lines(tmp_path, tokenizer="char")
    first = judged(tmp_path, params, "a")
    other = built(merge(params.model_dump(mode="json"), {"text": {"tokenizer": "bpe", "vocab_size": 120}}))
    prepare(other, tmp_path / "text")
    again = judged(tmp_path, other, "b")
    for name in ("bits_per_character", "loss", "tokens", "characters", "loss_4x"):
        assert again.get(name) == first.get(name), name
    assert again["unigram_bits_per_character"] != first["unigram_bits_per_character"]
    assert again["judged"]["held_out"] == first["judged"]["held_out"]
    assert again["judged"]["data"] != first["judged"]["data"]


def test_classes_that_the_model_does_not_know_are_refused(tmp_path):
    params = running.labels(tmp_path)
    first = judged(tmp_path, params, "a")
    other = built(merge(params.model_dump(mode="json"), {"text": {"tokenizer": "bpe", "vocab_size": 100}}))
    prepare(other, tmp_path / "text")
    assert judged(tmp_path, other, "b")["accuracy"] == first["accuracy"]
    file = tmp_path / "texts.jsonl"
    file.write_text(file.read_text().replace('"colour"', '"hue"'))
    prepare(other, tmp_path / "text")
    with pytest.raises(UserError, match=r"has the classes colour, tree and .* has hue, tree"):
        judged(tmp_path, other, "c")


def test_what_is_no_model_that_is_judged(tmp_path):
    with pytest.raises(UserError, match="holds no trained model"):
        family(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"width": 8}))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="does not say of which family"):
        family(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"family": "noisy-classifier"}))
    with pytest.raises(UserError, match="a noisy classifier that is not judged by itself"):
        family(tmp_path)
