import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stepladder.errors import UserError
from stepladder.params import Decoding
from stepladder.transformer.task import experiment
from stepladder.transformer.translation import cross_attention, encode, load, translate
from tests.transformer.prepared import params, prepare


def _export(made: Any, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    weights = dict(made.task.model.state_dict())
    for name in ("source_embedding", "output"):
        weights.pop(name)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(made.task.config))
    (folder / "tokenizer.json").write_bytes(made.files["tokenizer.json"].read_bytes())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prepare(tmp_path_factory.mktemp("text") / "text")
    torch.manual_seed(0)
    return _export(experiment(params(), data), data.parent / "model")


def test_load_gives_the_model_that_was_saved(folder: Path) -> None:
    model, _, config = load(folder)
    torch.manual_seed(0)
    trained = experiment(params(), folder.parent / "text").task.model
    assert config["target_languages"] == ["uk"]
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained.parameters(), strict=True))  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_translations_keep_their_order_and_do_not_depend_on_it(folder: Path, beam_size: int) -> None:
    loaded, decoding = load(folder), Decoding(beam_size=beam_size, max_length=12)
    sentences = ["abc", "h", "gfedcba", "abc", "ba"]
    found = translate(*loaded, sentences, decoding)
    assert found == [translate(*loaded, [s], decoding)[0] for s in sentences]


def test_nothing_and_blanks_give_nothing(folder: Path) -> None:
    loaded = load(folder)
    assert translate(*loaded, [], Decoding()) == []
    assert translate(*loaded, ["", "  "], Decoding(max_length=4)) == ["", ""]


def test_overlong_sentence_is_refused_by_number(folder: Path) -> None:
    with pytest.raises(UserError, match="Sentence 2 has 202 tokens; the model translates up to 128"):
        translate(*load(folder), ["a", "ab" * 100], Decoding(max_length=4))


def test_unknown_language_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="does not translate to fr; it knows uk"):
        translate(*load(folder), ["a"], Decoding(), language="fr")


def test_several_languages_need_one_named_and_put_its_tag_first(folder: Path, tmp_path: Path) -> None:
    _, tokenizer, config = load(_export(experiment(params(), prepare(tmp_path / "t", ("de", "fr"))), tmp_path / "m"))
    assert encode(tokenizer, config, ["a"], "fr")[0][0] == tokenizer.token_to_id("<2fr>")
    with pytest.raises(UserError, match="say which of de, fr"):
        encode(tokenizer, config, ["a"], None)


def test_missing_files_and_other_weights_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model.safetensors in .*; train a model"):
        load(tmp_path)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file({"target_embedding": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    for damage in (lambda: None, lambda: (tmp_path / "model.safetensors").write_bytes(b"half")):
        damage()
        with pytest.raises(UserError, match="damaged, or not those of its config"):
            load(tmp_path)


def test_attention_map_changes_no_result_and_sums_to_one(folder: Path) -> None:
    model, _, _ = load(folder)
    source, target = torch.tensor([5, 6, 7, 2]), torch.tensor([1, 7, 6])
    before = model(source[None], target[None])
    weights = cross_attention(model, source, target)
    assert weights.shape == (1, 2, 3, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 3))
    assert torch.equal(before, model(source[None], target[None]))
