import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from stepladder.evaluation.better import better
from stepladder.evaluation.text import evaluate
from stepladder.evaluation.text.classes import measures
from tests.transformer import running

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


@given(LABELS)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    label, predicted = zip(*pairs, strict=True)
    found = {m.name: m.value for m in measures([{"label": a, "predicted": b} for a, b in pairs])}
    assert found["accuracy"] == pytest.approx(accuracy_score(label, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(label, predicted, average="macro", zero_division=0))


def test_evaluate_leaves_its_files(tmp_path: Path) -> None:
    params = running.labels(tmp_path)
    metrics = evaluate(params, tmp_path / "text", tmp_path / "model", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == metrics["texts"] == np.sum(metrics["confusion"])
    assert metrics["accuracy"] == pytest.approx(np.mean([row["label"] == row["predicted"] for row in rows]))
    assert metrics["accuracy"] == pytest.approx(np.trace(metrics["confusion"]) / len(rows))
    assert metrics["majority"]["accuracy"] == pytest.approx(np.mean([row["label"] == "tree" for row in rows]))
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert set(metrics["by_class"]) == {"colour", "tree"} == set(metrics["classes"])
    assert all(0 <= row["probability"] <= 1 for row in rows)
    assert set(json.loads((tmp_path / "out" / "attention.json").read_text())["maps"]) == {"encoder"}
    (found, _) = better(tmp_path / "out", tmp_path / "out", count=20, confidence=0.9, seed=0)
    assert (found.name, found.verdict) == ("accuracy", "no difference shown")
