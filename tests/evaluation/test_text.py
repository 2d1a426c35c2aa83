import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sacrebleu.metrics.chrf import CHRF

from stepladder.evaluation.text import attention_map, bootstrap, evaluate, score, sentence_chrf
from stepladder.transformer.task import experiment
from stepladder.transformer.trained import load
from tests.transformer.prepared import params, prepare
from tests.transformer.test_translation import _export

REFERENCES = ["the cat sat on the mat", "a dog", "Україна", "much ado about nothing at all"] * 5
TRANSLATIONS = ["the cat sat on a mat", "a dog", "Украіна", "nothing at all"] * 5


def test_scores_carry_their_signatures_and_perfection_is_100() -> None:
    perfect = score(REFERENCES, REFERENCES)
    assert (perfect.bleu, perfect.chrf, perfect.exact_match) == pytest.approx((100, 100, 1))
    assert "tok:13a" in perfect.signatures["bleu"]
    assert "nc:6" in perfect.signatures["chrf"]
    assert score(TRANSLATIONS, REFERENCES).exact_match == 0.25
    assert "tok:zh" in score(["你好"], ["你好"], "zh_CN").signatures["bleu"]


def test_interval_holds_the_score_and_narrows_with_confidence() -> None:
    chrf = CHRF().corpus_score(TRANSLATIONS, [REFERENCES]).score
    wide = bootstrap(TRANSLATIONS, REFERENCES, resamples=200, confidence=0.95, seed=0)
    narrow = bootstrap(TRANSLATIONS, REFERENCES, resamples=200, confidence=0.5, seed=0)
    assert wide["chrf"][0] < narrow["chrf"][0] < chrf < narrow["chrf"][1] < wide["chrf"][1]
    assert wide["exact_match"][0] < 0.25 < wide["exact_match"][1]
    assert bootstrap(TRANSLATIONS, REFERENCES, resamples=200, confidence=0.95, seed=0) == wide


def test_interval_of_equal_sentences_is_the_score_itself() -> None:
    chrf = CHRF().corpus_score(["a bat"] * 9, [["a cat"] * 9]).score
    found = bootstrap(["a bat"] * 9, ["a cat"] * 9, resamples=10, confidence=0.9, seed=0)
    assert found["chrf"] == pytest.approx((chrf, chrf))


def test_sentence_scores() -> None:
    scores = sentence_chrf(TRANSLATIONS, REFERENCES)
    assert scores[1] == pytest.approx(100)
    assert max(scores[0], scores[2]) < 100


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prepare(tmp_path_factory.mktemp("evaluation") / "text", ("uk",))
    torch.manual_seed(0)
    _export(experiment(params(), data), data.parent / "model")
    return data.parent


def test_evaluate_leaves_its_files(made: Path) -> None:
    options = params().model_copy(update={"decoding": params().decoding.model_copy(update={"max_length": 12})})
    metrics = evaluate(options, made / "text", made / "model", made / "out")
    assert json.loads((made / "out" / "metrics.json").read_text()) == metrics
    assert metrics["sentences"] == 10
    assert metrics["chrf_low"] <= metrics["chrf"] <= metrics["chrf_high"]
    assert metrics["perplexity"] > 1
    assert set(metrics["copy"]) == {"bleu", "chrf", "exact_match"}
    lines = [json.loads(line) for line in (made / "out" / "translations.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert set(lines[0]) == {"source", "reference", "translation", "chrf"}
    shown = json.loads((made / "out" / "attention.json").read_text())
    weights = np.array(shown["weights"])
    assert weights.shape == (1, 2, len(shown["target_tokens"]), len(shown["source_tokens"]))


def test_attention_map_names_its_tokens(made: Path) -> None:
    shown = attention_map(*load(made / "model"), "abc", "cba")
    assert shown["source_tokens"][-1] == "</s>"
    assert "".join(shown["source_tokens"][:-1]).strip("▁ ") == "abc"
    assert len(shown["weights"][0][0]) == len(shown["target_tokens"])
    assert np.array(shown["weights"]).sum(-1) == pytest.approx(1, abs=1e-2)
