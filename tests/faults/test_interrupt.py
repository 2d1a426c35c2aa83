"""Ctrl-C while a stage writes: exit code 130, nothing half-written, and the next run completes."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from stepladder.params import render
from tests import digits
from tests.reporting import job, synthetic
from tests.tracking import made
from tests.training.project import curve, run, start, wait_for_steps

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
TRAIN = ("train", "diffusion", "--timesteps", "20")
EVALUATE = ("evaluate", "diffusion", "--timesteps", "20")
UNET = {"channels": 8, "channel_mult": [1], "blocks": 1}


def interrupted(folder: Path, at: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return run(folder, *arguments, PYTHONPATH=str(HERE / "interrupting"), INTERRUPT_AT=at, **extra)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def configure(folder: Path, **settings: object) -> Path:
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(render(digits.params(**settings)))
    return folder


def test_prepare(tmp_path):
    configure(tmp_path)
    stopped = interrupted(tmp_path, r"/data/.*images.*\.npy$", "prepare", "images")
    assert (stopped.returncode, stopped.stderr) == (130, "")
    left = [path for path in (tmp_path / "data").iterdir() if path != tmp_path / "data" / "sources"]
    assert not left, "but the note of where the source is"
    assert sorted(contents(tmp_path / "data" / "sources")) == ["images", "images.json"]
    assert run(tmp_path, "prepare", "images").returncode == 0
    before = contents(tmp_path / "data")
    stopped = interrupted(tmp_path, r"/data/.*images.*\.npy$", "prepare", "images")
    assert stopped.returncode == 130
    assert contents(tmp_path / "data") == before, "what was there stays"


@pytest.mark.parametrize("devices", ["1", "2"])
def test_train_and_evaluate(tmp_path, devices):
    settings = {"steps": 200, "batch_size": 16, "warmup_steps": 1, "validate_every": 100}
    configure(
        tmp_path,
        diffusion={"training": settings, "unet": UNET},
        feature_net={"steps": 20},
        sweep={"timesteps": [20], "sampling_steps": [5]},
        evaluation={"samples": 40, "bootstrap": 10},
    )
    assert run(tmp_path, "prepare", "images").returncode == 0
    training = start(
        tmp_path, *TRAIN, STEPLADDER_DEVICES=devices, STEPLADDER_CHECKPOINT_SECONDS="0.05",
        PYTHONPATH=str(HERE / "interrupting"),
    )  # fmt: skip
    wait_for_steps(tmp_path, 10)
    os.killpg(training.pid, signal.SIGINT)
    said, _ = training.communicate(timeout=120)
    assert training.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "models").exists()
    done = run(tmp_path, *TRAIN, STEPLADDER_DEVICES=devices)
    assert done.returncode == 0, done.stderr
    assert "resumes at step" in done.stdout
    steps = [step for step, _ in curve(tmp_path / "models/diffusion/T20")]
    assert steps == list(range(10, 201, 10))

    assert run(tmp_path, "train", "feature-net").returncode == 0
    stopped = interrupted(tmp_path, r"/reports/.*\.png$", *EVALUATE, STEPLADDER_DEVICES=devices)
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.stderr
    assert not list((tmp_path / "reports" / "diffusion").iterdir())
    done = run(tmp_path, *EVALUATE, STEPLADDER_DEVICES=devices)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports/diffusion/T20/metrics.json").exists()


@pytest.mark.parametrize(
    ("stage", "at", "result"),
    [
        ("compare", r"/reports/comparison", "comparison.json"),
        ("register", r"/reports/\.registered", "registered.json"),
    ],
)
def test_compare_and_register(tmp_path, stage, at, result):
    configure(tmp_path, decoding={"beam_size": 2, "max_length": 8})
    made.diffusion(tmp_path / "models" / "diffusion" / "T20")
    made.translation(tmp_path / "models" / "transformer")
    made.comparison(tmp_path / "reports")
    tracked = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "STEPLADDER_TRACKING": ""}
    before = contents(tmp_path / "reports")
    stopped = interrupted(tmp_path, at, stage, **tracked)
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert contents(tmp_path / "reports") == before, "nothing half-written"
    done = run(tmp_path, stage, **tracked)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / result).stat().st_size > 100


def test_report_leaves_the_one_before(tmp_path):
    configure(tmp_path)
    (tmp_path / "params.yaml").write_text(render(synthetic.PARAMS))
    models, reports = synthetic.project(tmp_path)
    job.compare(synthetic.PARAMS, models, reports)
    assert run(tmp_path, "report").returncode == 0
    before = contents(tmp_path / "reports")
    stopped = interrupted(tmp_path, r"/reports/index", "report")
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    after = contents(tmp_path / "reports")
    assert {name: after[name] for name in before} == before
    assert run(tmp_path, "report").returncode == 0
    assert contents(tmp_path / "reports").keys() == before.keys()
