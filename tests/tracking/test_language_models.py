"""Models of running text and of classes in the registry, loaded from it and asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from stepladder.evaluation.text import evaluate
from stepladder.params import Params
from stepladder.tracking import registry
from tests.reporting.job import compare
from tests.tracking import made
from tests.transformer import running


def registered(project: Path, params: Params) -> Any:
    """The model of ``project/model``, evaluated, compared, registered and loaded."""
    import mlflow

    folder = project / "models" / "transformer"
    made.finished(folder, made.header(**made.TRANSLATION | {"data": {"name": "own", "content_hash": "b" * 64}}))
    for file in (project / "model").iterdir():
        file.rename(folder / file.name)
    evaluate(params, project / "text", folder, project / "reports" / "transformer")
    compare(params, project / "models", project / "reports")
    (found,) = registry.register(params, project / "models", project / "reports")["models"]
    assert (found["name"], found["aliases"]) == ("transformer-own", ["challenger", "champion"])
    metrics = json.loads((project / "reports" / "transformer" / "metrics.json").read_text())
    assert found["figure"]["value"] == metrics[found["figure"]["name"]]
    return mlflow.pyfunc.load_model("models:/transformer-own@champion")


@pytest.mark.slow
def test_a_prompt_is_gone_on_from(project: Path) -> None:
    model = registered(project, running.lines(project))
    asked = [{"prompt": "The cat"}, {"prompt": "A dog ran"}]
    answer = model.predict(asked, params={"max_length": 12, "seed": 3})
    assert list(answer.columns) == ["continuation"]
    assert len(answer) == 2
    assert model.predict(asked, params={"max_length": 12, "seed": 3}).equals(answer)
    assert not model.predict(asked, params={"max_length": 12, "seed": 4}).equals(answer)


@pytest.mark.slow
def test_a_text_is_classified(project: Path) -> None:
    answer = registered(project, running.labels(project)).predict([{"text": "red 3"}, {"text": "oak 5"}])
    assert list(answer.columns) == ["label", "probability"]
    assert set(answer["label"]) <= {"colour", "tree"}
    assert answer["probability"].between(0.5, 1).all()
