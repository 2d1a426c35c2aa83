import shutil

import pytest
from filelock import FileLock

from stepladder.errors import UserError
from stepladder.params import Params, render
from stepladder.tracking import loadable, registry, runs, store
from stepladder.tracking.sync import sync
from tests.tracking import made
from tests.tracking.test_registry import unpacked  # noqa: F401


def points(header, name="train/loss"):
    run_id = runs.of_header(header)["run_id"]
    return sorted(p.step for p in store.client().get_metric_history(run_id, name))


def status(header):
    return runs.of_header(header)["status"]


def test_a_project_trained_without_a_store(project, unpacked):  # noqa: F811
    (project / "params.yaml").write_text(render(Params()))
    models, reports = project / "models", project / "reports"
    made.diffusion(models / "diffusion" / "T20")
    made.translation(models / "transformer")
    made.evaluation(reports / "diffusion" / "T20", 20, {1: 3.0, 2: 0.6})
    made.comparison(reports)
    (reports / "registered.json").write_text('{"tracking_uri": "", "models": []}')
    said = sync([])
    assert said.startswith("2 journals, 6 lines sent; 2 evaluations; 2 models registered: sqlite:///")
    assert "`stepladder report` shows them" in said
    run = store.client().get_run(runs.of_header(made.header())["run_id"])
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_003_000)
    assert run.data.metrics["best_frechet"] == 0.6
    assert store.client().get_model_version_by_alias("diffusion-digits", "champion").run_id == run.info.run_id
    assert sync([]).startswith("2 journals, 0 lines sent; 2 evaluations; 0 models registered: ")
    assert points(made.header()) == [1, 2, 3]


def test_models_that_came_without_their_history(project):
    """As by `dvc pull`: their runs are made of what their folders hold."""
    made.diffusion(project / "models" / "diffusion" / "T20")
    shutil.rmtree(project / ".history")
    assert sync([project / "models"]).startswith("1 journals, 3 lines sent: ")
    run = store.client().get_run(runs.of_header(made.header())["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["diffusion.schedule"] == "cosine"
    assert "mlflow.source.git.commit" not in run.data.tags
    assert points(made.header()) == [1, 2, 3]
    assert sync([project / "models"]).startswith("1 journals, 0 lines sent: ")


def test_a_store_that_was_lost(project, migrated, unpacked):  # noqa: F811
    (project / "params.yaml").write_text(render(Params()))
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    reports = made.comparison(project / "reports")
    registry.register(Params(), project / "models", reports)
    sync([])
    lost = project / "lost"
    (project / "mlruns").rename(lost)
    (project / "mlruns").mkdir()
    moved = project / "mlruns" / "new.db"
    shutil.copy(migrated, moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{moved}")
        assert "2 models registered" in sync([])
        assert points(made.header()) == [1, 2, 3]


def test_interrupted_trainings_and_those_that_run(project):
    killed, running = made.header(key="killed"), made.header(key="running")
    made.journal(project / ".checkpoints" / "killed", begin=killed)
    made.journal(project / ".checkpoints" / "running", begin=running)
    (project / ".checkpoints" / "killed.lock").touch()
    with FileLock(project / ".checkpoints" / "running.lock"):
        sync([])
    assert status(killed) == "KILLED"
    assert points(killed) == [1, 2, 3]
    assert runs.of_header(running) is None
    sync([])
    assert status(running) == "KILLED"
    runs.open_run(killed)
    assert status(killed) == "RUNNING"


def test_a_run_that_was_left_open_is_closed(project):
    runs.open_run(made.header())
    made.finished(project / "models" / "diffusion" / "T20")
    sync([])
    assert status(made.header()) == "FINISHED"


def test_named_journals_and_a_damaged_one(project):
    made.journal(project / "elsewhere" / "a")
    broken = made.journal(project / "elsewhere" / "b")
    broken.write_text("{ not a header\n")
    said = sync([project / "elsewhere"])
    assert said.startswith("2 journals, 3 lines sent: ")
    assert f"{broken} is damaged" in said


def test_what_cannot_be_sent(project, monkeypatch):
    with pytest.raises(UserError, match="absent does not exist"):
        sync([project / "absent"])
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    with pytest.raises(UserError, match="no tracking store to send to"):
        sync([])
    assert loadable.FILES
