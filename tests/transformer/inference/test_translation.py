from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stepladder.errors import UserError
from stepladder.params import Decoding
from stepladder.transformer.inference.translation import encode, n_best, translate
from stepladder.transformer.networks.trained import load
from stepladder.transformer.training.task import experiment
from tests.transformer.prepared import params, prepare


def _export(made: Any, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    weights = dict(made.task.model.state_dict())
    for name in ("source_embedding", "output"):
        weights.pop(name)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(made.task.description.to_json())
    (folder / "tokenizer.json").write_bytes(made.files["tokenizer.json"].read_bytes())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prepare(tmp_path_factory.mktemp("text") / "text")
    torch.manual_seed(0)
    return _export(experiment(params(), data), data.parent / "model")


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


def test_the_best_of_several_is_the_translation_and_each_has_its_score(folder: Path) -> None:
    loaded, sentences = load(folder), ["abc", "", "gfedcba"]
    decoding = Decoding(beam_size=4, max_length=12)
    found = n_best(*loaded, sentences, decoding, count=3)
    assert [best[0][0] if best else "" for best in found] == translate(*loaded, sentences, decoding)
    assert found[1] == []
    assert [len(best) for best in found] == [3, 0, 3]
    for best in found:
        assert [score for _, score in best] == sorted((score for _, score in best), reverse=True)
    for wrong in (Decoding(beam_size=2), Decoding(method="sample")):
        with pytest.raises(UserError, match=r"3 best translations are asked of decoding\.method="):
            n_best(*loaded, sentences, wrong, count=3)


def test_a_sampled_translation_depends_on_its_number_alone(folder: Path) -> None:
    loaded, decoding = load(folder), Decoding(method="sample", max_length=12)
    sentences = ["abc", "h", "gfedcba", "abc", "ba"]
    found = translate(*loaded, sentences, decoding, seed=3)
    assert found[2:4] == translate(*loaded, sentences[2:4], decoding, seed=3, first=2)
    assert found[0] != found[3]
    assert found != translate(*loaded, sentences, decoding, seed=4)
