"""What the summary on the Prefect page says of results that count as failed; all figures are invented."""

import json
import math
import time
from pathlib import Path

import pytest
from prefect import flow

from pipelines import artifacts
from pipelines.artifacts import Results
from stepladder.params import Params, Promotion
from tests.pipelines.test_flows import artifacts_since
from tests.reporting import synthetic

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.slow]
SMALL = synthetic.PARAMS.model_copy(
    update={"sweep": synthetic.PARAMS.sweep.model_copy(update={"timesteps": (10, 50), "sampling_steps": (1, 10)})}
)


LABELS = {
    "task": "labels", "texts": 40, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "macro_f1": 0.4,
    "majority": {"accuracy": 0.55},
}  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    synthetic.project(tmp_path, SMALL)
    return tmp_path


def summary(folder: Path, params: Params = SMALL) -> str:
    part = {"evaluate-diffusion@10": (), "evaluate-diffusion@50": (), "evaluate-transformer": ()}
    began, results = time.time(), Results(folder, params, part, None)
    publish = flow(artifacts.publish, name="publishes", validate_parameters=False)
    publish(results, title="made", outcome="Done.", root=folder, experiment=None)
    return artifacts_since(began)["made-summary"]


def test_what_passes_is_recommended_and_not_called_failed(made):
    said = summary(made)
    assert "**Recommended: T=" in said
    assert "**Translation:** chrF 59.3" in said
    assert "None is recommended" not in said
    assert "counts as failed" not in said


def test_where_all_failed_none_is_recommended_and_the_translation_counts_as_failed(made):
    scores = made / "reports" / "transformer" / "metrics.json"
    poor = {"chrf": 0.0, "chrf_low": 0.0, "chrf_high": 0.1}
    scores.write_text(json.dumps(json.loads(scores.read_text()) | poor))
    said = summary(made, SMALL.model_copy(update={"promotion": Promotion(accuracy=0.999)}))
    assert "**None is recommended.** No point of this sweep passes; the least bad, T=" in said
    assert "counts as failed (collapsed: accuracy" in said
    assert "**Recommended" not in said
    assert "**It counts as failed:** no skill: chrf 0 (0 to 0.1) is not better than" in said


def test_where_no_distance_is_finite_none_is_recommended_and_a_classifier_counts_as_failed(made):
    for file in (made / "reports" / "diffusion").glob("*/metrics.json"):
        metrics = json.loads(file.read_text())
        metrics["points"] = [point | {"frechet": math.nan} for point in metrics["points"]]
        file.write_text(json.dumps(metrics))
    (made / "reports" / "transformer" / "metrics.json").write_text(json.dumps(LABELS))
    said = summary(made)
    assert "**None is recommended.** No point of the sweep has a finite distance." in said
    assert "**Language model:** accuracy 0.5, macro f1 0.4. **It counts as failed:** no skill: accuracy 0.5" in said
