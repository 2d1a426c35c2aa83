"""The real command in a project of its own: killed, stopped, on two ranks, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from stepladder import history
from stepladder.journal import record
from stepladder.journal.record import Header
from stepladder.params import Params, merge, render
from stepladder.params import build as build_params

pytestmark = pytest.mark.slow

SMALL = {
    "diffusion": {
        "unet": {"channels": 16, "channel_mult": [1, 2], "blocks": 1},
        "training": {"steps": 120, "batch_size": 32, "warmup_steps": 5, "validate_every": 40},
    }
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(render(build_params(merge(Params().model_dump(mode="json"), SMALL))))
    done = run(folder, "prepare", "images")
    assert done.returncode == 0, done.stderr
    return folder


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}
    return kept | {"STEPLADDER_TRACKING": "journal", "OMP_NUM_THREADS": "1"} | extra


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stepladder", *arguments]


def run(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=300
    )


def start(folder: Path, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("train", "diffusion", "--timesteps", "20"),
        cwd=folder, env=environment(STEPLADDER_CHECKPOINT_SECONDS="0.2", **extra),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for_steps(folder: Path, steps: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for journal in folder.glob(".checkpoints/*/journal.jsonl"):
            if journal.with_name("last.ckpt").exists() and any(
                line.get("step", 0) >= steps for line in record.read(journal)
            ):
                return
        time.sleep(0.05)
    raise AssertionError("the training did not get that far")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "models/diffusion/T20/model.safetensors")


def losses(folder: Path, name: str = "train/loss") -> list[tuple[int, float]]:
    lines = history.curve(folder / "models/diffusion/T20")
    return [(line["step"], line["metrics"][name]) for line in lines if name in line["metrics"]]


class Whole(NamedTuple):
    """A training that nothing disturbed."""

    weights: dict[str, torch.Tensor]
    losses: list[tuple[int, float]]
    validation: list[tuple[int, float]]


@pytest.fixture(scope="module")
def whole(project) -> Whole:
    done = run(project, "train", "diffusion", "--timesteps", "20")
    assert done.returncode == 0, done.stderr
    assert "step 120/120" in done.stdout
    assert not list(project.glob(".checkpoints/*/")), "a finished training leaves no state"
    return Whole(weights(project), losses(project), losses(project, "validation/loss"))


def test_a_model_leads_to_its_history(project, whole):
    model = project / "models/diffusion/T20"
    assert {file.name for file in model.iterdir()} == {
        *("model.safetensors", "config.json"), *(history.TRAINING, history.CURVE)
    }  # fmt: skip
    record = history.run(model, project / history.FOLDER)
    told = project / history.FOLDER / record["key"]
    assert {file.name for file in told.iterdir()} == {history.RUN, history.JOURNAL, history.PREVIEWS, "origin"}
    assert record["run_id"] is None
    assert record.keys() == history.Run.__annotations__.keys() - {"experiment_id"}
    begun = json.loads((told / history.JOURNAL).read_text().splitlines()[0])["header"]
    assert begun.keys() == Header.__annotations__.keys()
    assert record["figures"]["seconds"] > 0
    assert record["data"]["content_hash"] == json.loads((project / "data/images/card.json").read_text())["content_hash"]
    assert record["figures"]["steps"] == 120
    assert record["figures"]["parameters"] == sum(w.numel() for w in whole.weights.values())


def test_sigkill_in_the_middle_and_run_again_gives_the_same_bits(project, whole):
    training = start(project)
    wait_for_steps(project, 40)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    again = run(project, "train", "diffusion", "--timesteps", "20")
    assert again.returncode == 0, again.stderr
    assert "resumes at step" in again.stdout
    assert all(torch.equal(whole.weights[name], value) for name, value in weights(project).items())
    assert losses(project) == whole.losses


def test_sigterm_leaves_a_checkpoint_and_code_143(project, whole):
    training = start(project)
    wait_for_steps(project, 30)
    training.send_signal(signal.SIGTERM)
    output, _ = training.communicate(timeout=60)
    assert training.returncode == 143, output
    assert list(project.glob(".checkpoints/*/last.ckpt"))
    again = run(project, "train", "diffusion", "--timesteps", "20")
    assert again.returncode == 0
    assert "resumes at step" in again.stdout
    assert all(torch.equal(whole.weights[name], value) for name, value in weights(project).items())


def test_of_a_truncated_checkpoint_the_one_before_it_is_used(project, whole):
    training = start(project)
    wait_for_steps(project, 40)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    (checkpoint,) = project.glob(".checkpoints/*/last.ckpt")
    assert checkpoint.with_name("previous.ckpt").exists()
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    again = run(project, "train", "diffusion", "--timesteps", "20")
    assert again.returncode == 0, again.stderr
    assert "cannot be read" in again.stdout
    assert "The one before it, previous.ckpt, is used." in again.stdout
    assert "resumes at step" in again.stdout
    assert all(torch.equal(whole.weights[name], value) for name, value in weights(project).items())


def test_the_same_training_twice_at_once_is_refused(project):
    training = start(project)
    wait_for_steps(project, 10)
    refused = run(project, "train", "diffusion", "--timesteps", "20")
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    assert refused.returncode == 2
    assert "already runs in another process" in refused.stderr
    assert run(project, "train", "diffusion", "--timesteps", "20").returncode == 0


def test_two_ranks_have_the_losses_of_one(project, whole):
    done = run(project, "train", "diffusion", "--timesteps", "20", STEPLADDER_DEVICES="2")
    assert done.returncode == 0, done.stderr
    two = losses(project, "validation/loss")
    assert [step for step, _ in two] == [40, 80, 120]
    assert [loss for _, loss in two] == pytest.approx([loss for _, loss in whole.validation], rel=1e-4)
    assert all(torch.allclose(whole.weights[name], value, atol=1e-3) for name, value in weights(project).items())
    record = history.training(project / "models/diffusion/T20")
    assert record["figures"]["steps"] == 120


def test_a_number_of_devices_that_is_none_is_refused(project):
    refused = run(project, "train", "diffusion", "--timesteps", "20", STEPLADDER_DEVICES="many")
    assert refused.returncode == 2
    assert "STEPLADDER_DEVICES='many'" in refused.stderr
