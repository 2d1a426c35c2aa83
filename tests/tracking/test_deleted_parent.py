"""A sweep's parent run that a user deleted on MLflow's page."""

import json

import pytest

from stepladder import history
from stepladder.tracking import evaluations, runs, store
from tests.tracking import made


@pytest.fixture
def orphan(project):
    """A run whose parent was deleted."""
    run = runs.open_run(made.header())
    store.client().delete_run(run["parent_run_id"])
    return run


def test_a_training_that_goes_on_gets_a_new_parent(orphan):
    again = runs.open_run(made.header())
    assert again["run_id"] == orphan["run_id"]
    assert again["parent_run_id"] != orphan["parent_run_id"]
    tags = store.client().get_run(again["run_id"]).data.tags
    assert tags["mlflow.parentRunId"] == again["parent_run_id"]


def test_a_training_ends_without_it(orphan):
    runs.close_run(orphan, "FINISHED")
    assert runs.of_header(made.header())["status"] == "FINISHED"


@pytest.mark.parametrize("recorded", [True, False])
def test_its_evaluation_is_recorded_without_it(project, orphan, recorded):
    model = made.finished(project / "models" / "diffusion" / "T20")
    if recorded:
        (history.folder_of("key20") / history.RUN).write_text(json.dumps(orphan))
    evaluations.record(model, made.evaluation(project / "reports" / "diffusion" / "T20", 20, {1: 2.0, 2: 0.6}))
    metrics = store.client().get_run(orphan["run_id"]).data.metrics
    assert metrics["best_frechet"] == 0.6
