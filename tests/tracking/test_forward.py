import json

import pytest
from mlflow import MlflowClient

from stepladder import lineage
from stepladder.journal.record import read
from stepladder.tracking import runs, store
from stepladder.tracking.forward import forward
from tests.tracking import made


def history(run, name="train/loss"):
    return sorted((p.step, p.value, p.timestamp) for p in store.client().get_metric_history(run["run_id"], name))


def test_sends_what_is_lacking_and_nothing_twice(project, tmp_path):
    run = runs.open_run(made.header())
    journal = made.journal(tmp_path / "work", steps=3, pictures=True)
    assert forward(journal, run) == 4
    assert forward(journal, run) == 0
    with journal.open("a") as file:
        file.write(json.dumps(made.line(4)) + "\n" + json.dumps(made.line(5))[:20])
    assert forward(journal, run) == 1
    with journal.open("a") as file:
        file.write(json.dumps(made.line(5))[20:] + "\n")
    assert forward(journal, run) == 1
    assert history(run) == [(s, 1 / s, 1_700_000_000_000 + 1000 * s) for s in range(1, 6)]
    assert len(history(run, "system/cpu_utilization_percentage")) == 5
    assert [a.path for a in store.client().list_artifacts(run["run_id"], "previews")] == ["previews/step-3.png"]


def test_more_figures_than_a_request_takes(project, tmp_path):
    run = runs.open_run(made.header())
    journal = made.journal(tmp_path / "work", steps=1201)
    assert forward(journal, run) == 1201
    assert [step for step, _, _ in history(run)] == list(range(1, 1202))


def test_figures_that_are_no_numbers(project, tmp_path):
    run = runs.open_run(made.header())
    journal = made.journal(tmp_path / "work", steps=1)
    with journal.open("a") as file:
        file.write('{"step": 2, "time": 1.0, "metrics": {"train/loss": NaN, "other": Infinity}}\n')
    assert forward(journal, run) == 2
    assert forward(journal, run) == 0


def test_a_training_begun_anew_sends_only_the_steps_that_are_lacking(project, tmp_path):
    run = runs.open_run(made.header())
    forward(made.journal(tmp_path / "first", steps=3), run)
    journal = made.journal(tmp_path / "second", steps=5, begin=made.header(started=1_800_000_000.0))
    forward(journal, run)
    assert forward(journal, run) == 0
    assert [step for step, _, _ in history(run)] == [1, 2, 3, 4, 5]


def test_pictures_that_cannot_be_stored_hold_up_no_figures(project, tmp_path, monkeypatch):
    run = runs.open_run(made.header())
    journal = made.journal(tmp_path / "work", steps=3, pictures=True)

    def full(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", full)
        with pytest.raises(OSError, match="the disk is full"):
            forward(journal, run)
    assert len(history(run)) == 3
    assert forward(journal, run) == 1


def test_a_picture_that_is_gone_is_passed_over(project, tmp_path):
    run = runs.open_run(made.header())
    journal = made.journal(tmp_path / "work", steps=3, pictures=True)
    (tmp_path / "work" / "previews" / "step-3.png").unlink()
    assert forward(journal, run) == 3
    assert read(journal)[0] == {"header": made.header()}


def test_a_training_begun_anew_sends_where_it_comes_from_anew(project):
    """Under other versions, say: the run then names those of the weights that it ends with."""
    folder = project / "model"
    for number, versions in enumerate(("2.0.1", "2.1.0"), 1):
        journal = made.journal(folder, steps=number, begin=made.header(started=1_700_000_000.0 + number))
        (folder / "origin").mkdir(exist_ok=True)
        (folder / "origin" / "environment.json").write_text(json.dumps({"torch": versions}))
        run = runs.open_run(made.header())
        forward(journal, run)
        told = json.loads(lineage.recorded(store.client(), run["run_id"], lineage.ENVIRONMENT))
        assert told == {"torch": versions}
