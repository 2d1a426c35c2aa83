import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stepladder import history
from stepladder.errors import UserError
from stepladder.evaluation.better import better
from stepladder.evaluation.text import evaluate
from stepladder.evaluation.text.translation import measures
from stepladder.judgement import failure
from stepladder.params import Params
from stepladder.transformer.training.task import experiment
from tests.transformer.inference.test_translation import _export
from tests.transformer.prepared import params, prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = prepare(tmp_path_factory.mktemp("evaluation") / "text", ("uk",))
    for suffix in (".jsonl", "_source.npy", "_source_offsets.npy", "_target.npy", "_target_offsets.npy"):
        (data / f"test_other{suffix}").write_bytes((data / f"validation{suffix}").read_bytes())
    card = json.loads((data / "card.json").read_text())
    (data / "card.json").write_text(json.dumps(card | {"counts": dict.fromkeys(("train", "test", "test_other"), 10)}))
    torch.manual_seed(0)
    _export(experiment(params(), data), data.parent / "model")
    return data.parent


def asked(**evaluation: object) -> Params:
    given = params()
    return given.model_copy(
        update={
            "decoding": given.decoding.model_copy(update={"max_length": 12}),
            "evaluation": given.evaluation.model_copy(update={"bootstrap": 20} | evaluation),
        }
    )


def test_evaluate_leaves_its_files(made: Path) -> None:
    metrics = evaluate(asked(rouge=True), made / "text", made / "model", made / "out")
    assert history.read(made / "out" / "metrics.json") == metrics
    assert metrics["sentences"] == 10
    for name in ("chrf", "bleu", "ter", "bleu_lowercased_tokenised", "rougel"):
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
        assert metrics["signatures"][name]
    assert metrics["perplexity"] > 1
    assert {"bleu", "chrf", "ter", "exact_match"} <= set(metrics["copy"])
    assert set(metrics["splits"]) == {"test_other"}
    assert set(metrics) - set(metrics["splits"]["test_other"]) == {"task", "splits", "judged"}
    for name in ("translations.jsonl", "translations_other.jsonl"):
        lines = [json.loads(line) for line in (made / "out" / name).read_text().splitlines()]
        assert len(lines) == 10
        assert set(lines[0]) == {"source", "reference", "translation", "language", "chrf"}


def test_translations_are_judged_beside_what_has_learned_nothing(made: Path) -> None:
    """Of every split: the source as it is, and the references of other sentences, of which one is the baseline."""
    metrics = evaluate(asked(), made / "text", made / "model", made / "beside")
    pairs = [json.loads(line) for line in (made / "text" / "test.jsonl").read_text().splitlines()]
    others = [pairs[(i + 5) % 10]["target"] for i in range(10)]
    (chrf,) = (m for m in measures(pairs, others, summaries=False) if m.name == "chrf")
    assert metrics["exchanged"] == {"chrf": pytest.approx(chrf.value)}
    for found in (metrics, metrics["splits"]["test_other"]):
        than = failure.baseline(found)
        assert than is not None
        assert (than.figure, than.value) == ("chrf", max(found["copy"]["chrf"], found["exchanged"]["chrf"]))
    assert failure.failed_text(metrics | {"chrf": 0.0, "chrf_low": 0.0}).startswith("no skill: chrf 0")


def test_what_is_drawn_of_its_attention(made: Path) -> None:
    evaluate(asked(), made / "text", made / "model", made / "drawn")
    shown = json.loads((made / "drawn" / "attention.json").read_text())
    assert set(shown["maps"]) == {"encoder", "decoder", "cross"} == set(shown["entropy"])
    for one in shown["maps"].values():
        assert np.array(one["weights"]).shape == (1, 2, len(one["rows"]), len(one["columns"]))
        assert np.array(one["weights"]).sum(-1) == pytest.approx(1, abs=1e-2)
    cross, decoder = shown["maps"]["cross"], shown["maps"]["decoder"]
    assert cross["columns"] == shown["maps"]["encoder"]["rows"]
    assert cross["rows"] == decoder["rows"] == [*decoder["columns"][1:], "</s>"]
    assert np.array(shown["entropy"]["cross"]).shape == (1, 2)
    assert np.array(shown["positions"]).shape[1] == 16


def test_a_run_is_compared_with_another(made: Path) -> None:
    evaluate(asked(), made / "text", made / "model", made / "a")
    (made / "b").mkdir(exist_ok=True)
    (made / "b" / "metrics.json").write_bytes((made / "a" / "metrics.json").read_bytes())
    rows = [json.loads(line) for line in (made / "a" / "translations.jsonl").read_text().splitlines()]
    right = "".join(json.dumps(row | {"translation": row["reference"]}) + "\n" for row in rows)
    (made / "b" / "translations.jsonl").write_text(right)
    found = {d.name: d for d in better(made / "a", made / "b", count=50, confidence=0.95, seed=0)}
    assert found["chrf"].verdict == found["ter"].verdict == "B is better"
    assert found["chrf"].b == pytest.approx(100)
    assert found["chrf"].better == 1
    (made / "b" / "translations.jsonl").write_text("".join(right.splitlines(keepends=True)[:9]))
    with pytest.raises(UserError, match="not judged on the same held-out items"):
        better(made / "a", made / "b", count=50, confidence=0.95, seed=0)
    with pytest.raises(UserError, match="holds no evaluation of a language model"):
        better(made / "a", made / "model", count=50, confidence=0.95, seed=0)
