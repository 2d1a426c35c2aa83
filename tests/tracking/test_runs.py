import sqlite3
from contextlib import closing

import pytest

from stepladder.errors import UserError
from stepladder.tracking import runs, store
from tests.tracking import made


def test_a_training_is_found_again(project):
    first = runs.open_run(made.header())
    runs.close_run(first, "KILLED")
    assert store.client().get_run(first["run_id"]).info.status == "KILLED"
    again = runs.open_run(made.header(started=1_800_000_000.0))
    assert again == first
    run = store.client().get_run(first["run_id"])
    assert run.info.status == "RUNNING"
    assert run.data.tags["stepladder.attempts"] == "2"
    assert runs.of_header(made.header())["run_id"] == first["run_id"]


def test_one_parent_a_sweep(project):
    t20 = runs.open_run(made.header())
    t50 = runs.open_run(made.header(key="key50", timesteps=50))
    other = runs.open_run(made.header(key="key51", timesteps=50, sweep_key="sweep1"))
    alone = runs.open_run(made.header(**made.TRANSLATION))
    assert t20["parent_run_id"] == t50["parent_run_id"] != other["parent_run_id"]
    assert alone["parent_run_id"] is None
    assert t20["experiment_id"] != alone["experiment_id"]
    nested = store.client().search_runs([t20["experiment_id"]], f"tags.`mlflow.parentRunId` = '{t20['parent_run_id']}'")
    assert {run.info.run_id for run in nested} == {t20["run_id"], t50["run_id"]}


def test_a_run_says_where_it_came_from(project):
    many = {f"section.key{i}": i for i in range(150)}
    opened = runs.open_run(made.header(params=many, git_dirty=True))
    run = store.client().get_run(opened["run_id"])
    assert run.data.params == {name: str(value) for name, value in many.items()} | {"timesteps": "20"}
    tags = run.data.tags
    assert tags["mlflow.source.git.commit"] == "c" * 40
    assert tags["mlflow.source.name"] == "stepladder train diffusion --timesteps 20"
    assert tags["stepladder.git_dirty"] == "true"
    assert tags["stepladder.data_hash"] == "a" * 64
    assert tags["stepladder.dvc_lock"] == "d" * 64
    assert tags["stepladder.key"] == "key20"
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "a" * 16)
    assert run.info.artifact_uri.startswith((project / "mlruns" / "artifacts" / "diffusion-digits").as_uri())


def test_a_training_without_git_or_lock(project):
    opened = runs.open_run(made.header(git_commit=None, dvc_lock=None))
    assert "mlflow.source.git.commit" not in store.client().get_run(opened["run_id"]).data.tags


def test_the_parent_ends_with_its_children(project):
    t20, t50 = runs.open_run(made.header()), runs.open_run(made.header(key="key50", timesteps=50))

    def parent():
        return store.client().get_run(t20["parent_run_id"]).info.status

    assert parent() == "RUNNING"
    runs.close_run(t50, "FAILED")
    assert parent() == "FAILED"
    runs.close_run(t20, "FINISHED")
    assert parent() == "FINISHED"
    runs.close_run(t50, "FAILED")
    assert parent() == "FINISHED"


def test_a_removed_run_is_not_taken_for_the_models(project, tmp_path):
    folder = made.finished(tmp_path / "models" / "diffusion" / "T20")
    assert runs.of_model(folder) is None
    opened = runs.open_run(made.header())
    assert runs.of_model(folder)["run_id"] == opened["run_id"]
    store.client().delete_run(opened["run_id"])
    assert runs.of_model(folder) is None


def test_an_experiment_that_was_deleted_is_restored(project):
    opened = runs.open_run(made.header())
    store.client().delete_experiment(opened["experiment_id"])
    assert runs.open_run(made.header(key="other"))["experiment_id"] == opened["experiment_id"]


def test_a_store_that_fails_is_one_sentence(project):
    opened = runs.open_run(made.header())
    with pytest.raises(
        UserError, match=r"The tracking store sqlite:///.* refuses what is asked of it \(.*\)\.$"
    ) as caught:
        runs.close_run(opened | {"run_id": "absent"}, "FINISHED")
    assert "\n" not in str(caught.value)
    with closing(sqlite3.connect(project / "mlruns" / "mlflow.db")) as connection:
        connection.execute("DROP TABLE runs")
    with pytest.raises(UserError, match=r"The tracking store sqlite:///.* failed \(.*\); what it lacks") as caught:
        runs.close_run(opened, "FINISHED")
    assert "\n" not in str(caught.value)
