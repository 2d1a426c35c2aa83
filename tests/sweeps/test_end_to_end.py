"""Real sweeps of tiny trainings on digits: a child that fails, a sweep that is killed, a child that is pruned."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from stepladder.params import build, render
from stepladder.sweeps import running, search, spec
from stepladder.sweeps.child import Child, Places
from tests import digits

pytestmark = pytest.mark.slow

TINY = {
    "feature_net": {"steps": 20, "width": 8},
    "diffusion": {
        "unet": {"channels": 8, "heads": 2},
        "training": {"steps": 6, "batch_size": 16, "warmup_steps": 2, "validate_every": 3},
    },
    "evaluation": {"samples": 40, "bootstrap": 10},
}
RATE, ACCUMULATE = "diffusion.training.learning_rate", "diffusion.training.accumulate"
PLACES = Places(Path("data/images"), Path("data/text"), Path("models/feature-net"))


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(render(build(TINY)))
    shutil.copytree(digits.prepared(), folder / "data" / "images")
    (folder / "sweeps").mkdir()
    return folder


@pytest.fixture(autouse=True)
def here(project, monkeypatch):
    monkeypatch.chdir(project)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", "STEPLADDER_SLOTS", search.STORAGE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(running.__file__).parents[2]))
    monkeypatch.setenv("STEPLADDER_CHECKPOINT_SECONDS", "0.2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return project


def write(name: str, **values) -> None:
    (spec.FOLDER / f"{name}.yaml").write_text(yaml.safe_dump({"timesteps": 4} | values, sort_keys=False))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stepladder", "sweep", *arguments]


def test_a_child_that_fails_stops_no_other_and_the_parent_has_means_over_seeds(project):
    write("grid", space={ACCUMULATE: [1, 2]}, seeds=[0, 1])
    sweep = spec.read("grid")
    for seed in sweep.seeds:  # what no check can know beforehand
        folder = Path(".checkpoints") / Child("grid", sweep, {ACCUMULATE: 2}, seed, PLACES).key
        folder.mkdir(parents=True)
        (folder / "last.ckpt").write_bytes(b"PK\x03\x04 not a checkpoint")
    first = subprocess.run(command("run", "grid", "--jobs", "2"), capture_output=True, text=True, timeout=500)
    assert first.returncode == 1, first.stdout + first.stderr
    found = json.loads((project / "sweeps/grid/results.json").read_text())
    good, bad = found["rows"]
    assert good["point"] == {ACCUMULATE: 1}
    assert good["mean"] == pytest.approx(sum(good["each"].values()) / 2)
    assert good["low"] < good["mean"] < good["high"]
    assert good["each"]["0"] != good["each"]["1"]
    assert bad["mean"] is None
    assert "cannot be read" in bad["unfinished"]["0"]
    assert "failed" in bad["unfinished"]["1"]

    from stepladder.tracking import store

    client = store.client()
    (experiment,) = client.search_experiments(filter_string="name = 'sweep-grid-digits'")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "sweep grid"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.run_name for run in children if run.info.status == "FINISHED"} == {
        "accumulate=1, seed 0",
        "accumulate=1, seed 1",
    }
    assert parent.data.metrics["validation/loss/mean"] == pytest.approx(good["mean"])
    assert parent.data.metrics["best/validation/loss"] == pytest.approx(good["mean"])
    assert parent.data.params[ACCUMULATE] == "[1, 2]"
    assert json.loads(parent.data.tags["stepladder.best"]) == good["point"]

    shown = subprocess.run(command("show", "grid"), capture_output=True, text=True, timeout=100).stdout.splitlines()
    assert shown[1].split()[:2] == ["1", "1"]
    assert shown[2].split()[:3] == ["-", "2", "failed"]

    models = {file: file.stat().st_mtime_ns for file in project.glob("sweeps/grid/models/*/model.safetensors")}
    write("grid", space={ACCUMULATE: [1]}, seeds=[0, 1])
    again = subprocess.run(command("run", "grid"), capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("is finished") == 2
    assert {file: file.stat().st_mtime_ns for file in models} == models


def test_a_child_that_diverges_has_failed(project, monkeypatch):
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    monkeypatch.setenv("STEPLADDER_CHECKPOINT_SECONDS", "3600")  # other tests here look for checkpoints
    wild = {"diffusion": {"variance": "learned_range", "loss": "vlb"}}
    training = {"steps": 30, "warmup_steps": 0, "gradient_clip": 0}
    write("wild", space={RATE: [1.0]}, timesteps=20, base=wild | {"diffusion.training": training})
    done = subprocess.run(command("run", "wild"), capture_output=True, text=True, timeout=500)
    assert done.returncode == 1, done.stdout + done.stderr
    (row,) = json.loads((project / "sweeps/wild/results.json").read_text())["rows"]
    assert row["mean"] is None
    assert row["unfinished"]["0"].startswith("failed: ")
    assert "no model was made. Try to lower learning_rate (it is 1)" in row["unfinished"]["0"]
    assert not list(project.glob("sweeps/wild/models/*/model.safetensors"))


def test_a_killed_sweep_goes_on_from_its_trials_and_checkpoints(project, monkeypatch):
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    write(
        "killed", method="optuna", trials=2, space={RATE: {"log": [0.001, 0.01]}}, prune={"by": "none"},
        base={"diffusion.training": {"steps": 300, "validate_every": 300}},
    )  # fmt: skip
    others = set(project.glob(".checkpoints/*/last.ckpt"))  # of children that failed
    sweep = subprocess.Popen(command("run", "killed"), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 240
    while set(project.glob(".checkpoints/*/last.ckpt")) == others:
        assert time.monotonic() < deadline
        assert sweep.poll() is None
        time.sleep(0.1)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    again = subprocess.run(command("run", "killed"), capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "resumes at step" in again.stdout
    trials = search.open_study("killed", spec.read("killed")).get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert len(list(project.glob("sweeps/killed/points/*.json"))) == 2
    assert set(project.glob(".checkpoints/*/last.ckpt")) == others


def test_a_pruned_child_ends_early_and_leaves_no_checkpoint(project, monkeypatch, capsys):
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    write("pruned", space={RATE: [0.002]}, base={"diffusion.training": {"steps": 100_000, "validate_every": 20}})
    sweep, seen = spec.read("pruned"), []
    run = running._Run("pruned", sweep, 1, PLACES)
    why = run.trial(sweep.points()[0], lambda figures: bool(seen.append(figures)) or True)
    assert isinstance(why, str)
    assert why.startswith("validation/loss is ")
    assert seen[0][0] > 0
    child = run.child(sweep.points()[0], 0, lambda _: False)
    assert child.outcome()["status"] == "pruned"
    assert child.finished() is None
    assert not child.journal().parent.exists()
    assert "is pruned" in capsys.readouterr().out
    (row,) = running.finished_rows("pruned", sweep, PLACES)
    assert row.unfinished == {0: f"pruned: {why}"}
