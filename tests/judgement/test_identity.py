"""Figures of another training, or of other held-out data, than those in place are not taken for theirs."""

import json

import pytest

from stepladder import history
from stepladder.data.preparing.text import prepare
from stepladder.errors import UserError
from stepladder.judgement import identity
from stepladder.params import build

PAIRS = [(f"a small house number {i}", f"ein kleines haus nummer {i}") for i in range(120)]


def prepared(folder, source, **text):
    text = {"source": str(source), "target_languages": ["de"], "vocab_size": 100, "tokenizer": "char"} | text
    return prepare(build({"text": text, "transformer": {"training": {"batch_size": 64}}}), folder)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    return file


def test_held_out_content_is_told_apart_from_its_tokens(tmp_path, source):
    first = prepared(tmp_path / "a", source)
    again = prepared(tmp_path / "b", source, tokenizer="bpe", vocab_size=120)
    assert first["content_hash"] != again["content_hash"]
    assert first["held_out_hash"] == again["held_out_hash"]
    other = source.with_name("other.tsv")
    other.write_text(source.read_text().replace("haus", "haus!"))
    assert prepared(tmp_path / "c", other)["held_out_hash"] != first["held_out_hash"]


def test_two_people_s_pairs_need_not_share_a_name(tmp_path, source):
    assert prepared(tmp_path / "a", source)["name"] == "pairs"
    assert prepared(tmp_path / "b", source, name="mine")["name"] == "mine"
    with pytest.raises(UserError, match=r"text\.name"):
        build({"text": {"name": "not/one"}})


def model(folder, key):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / history.TRAINING).write_text(json.dumps({"key": key}))
    return folder


def test_figures_are_of_the_model_and_the_data_in_place(tmp_path, source):
    data, params = tmp_path / "data", build({})
    prepared(data, source)
    metrics = {"judged": identity.judged(params, model(tmp_path / "model", "one"), data)}
    identity.check(metrics, tmp_path, tmp_path / "model", data, "stepladder evaluate transformer")
    model(tmp_path / "model", "two")
    with pytest.raises(
        UserError, match=r"another training \(key one\).*\(key two\); run `stepladder evaluate transformer`"
    ):
        identity.check(metrics, tmp_path, tmp_path / "model", data, "stepladder evaluate transformer")
    model(tmp_path / "model", "one")
    source.write_text(source.read_text().upper())
    prepared(data, source)
    with pytest.raises(UserError, match="figures of other held-out data"):
        identity.check(metrics, tmp_path, tmp_path / "model", data, "stepladder evaluate transformer")


def test_the_judge_counts(tmp_path, source):
    prepared(tmp_path / "data", source)
    marks = {
        identity.mark(identity.judged(build(changed), tmp_path, tmp_path / "data"))
        for changed in ({}, {"seed": 1}, {"evaluation": {"bootstrap": 50}}, {"evaluation": {"samples": 50}})
    }
    assert len(marks) == 3, "pictures have nothing to do with it"
