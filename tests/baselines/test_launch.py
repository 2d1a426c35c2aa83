"""The real command: a training of two networks is killed, resumed and shared among ranks as any other."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stepladder import history
from stepladder.journal import record
from stepladder.params import Params, build, merge, render

pytestmark = pytest.mark.slow

SMALL = {
    "gan": {
        "loss": "wgan_gp",
        "critic_steps": 2,
        "channels": 8,
        "latent": 8,
        "training": {"steps": 120, "batch_size": 32, "accumulate": 2, "validate_every": 40},
    },
    "vae": {"channels": 8, "latent": 8, "training": {"steps": 20, "batch_size": 32, "validate_every": 20}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(render(build(merge(Params().model_dump(mode="json"), SMALL))))
    assert run(folder, "prepare", "images").returncode == 0
    return folder


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}
    return kept | {"STEPLADDER_TRACKING": "journal", "OMP_NUM_THREADS": "1"} | extra


def run(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stepladder", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=300)


def kill_after(folder: Path, steps: int) -> None:
    """Start the adversarial training, and kill it when it has journalled ``steps`` and left a checkpoint."""
    training = subprocess.Popen(
        [sys.executable, "-m", "stepladder", "train", "gan"],
        cwd=folder, env=environment(STEPLADDER_CHECKPOINT_SECONDS="0.2"), stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        journals = [j for j in folder.glob(".checkpoints/*/journal.jsonl") if j.with_name("last.ckpt").exists()]
        if any(line.get("step", 0) >= steps for journal in journals for line in record.read(journal)):
            break
        time.sleep(0.05)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "models/gan/model.safetensors")


def figures(folder: Path, name: str) -> list[tuple[int, float]]:
    lines = history.curve(folder / "models/gan")
    return [(line["step"], line["metrics"][name]) for line in lines if name in line["metrics"]]


NAMES = ("train/generator_loss", "train/discriminator_loss", "validation/discriminator_loss")


@pytest.fixture(scope="module")
def whole(project):
    done = run(project, "train", "gan")
    assert done.returncode == 0, done.stderr
    return weights(project), {name: figures(project, name) for name in NAMES}


def test_sigkill_in_the_middle_and_run_again_gives_the_same_bits(project, whole):
    kill_after(project, 40)
    again = run(project, "train", "gan")
    assert again.returncode == 0, again.stderr
    assert "resumes at step" in again.stdout
    assert all(torch.equal(whole[0][name], value) for name, value in weights(project).items())
    for name in NAMES:
        assert figures(project, name) == whole[1][name]
        assert figures(project, name)[-1][0] == 120


def test_two_ranks_have_the_losses_of_one(project, whole):
    done = run(project, "train", "gan", STEPLADDER_DEVICES="2")
    assert done.returncode == 0, done.stderr
    two, one = (dict(f) for f in (figures(project, NAMES[2]), whole[1][NAMES[2]]))
    assert two == pytest.approx(one, rel=1e-2, abs=1e-3)
    record = history.training(project / "models/gan")["figures"]
    assert record["steps"] == 120
    assert record["parameters"] == sum(w.numel() for w in whole[0].values()) < record["trained_parameters"]


@pytest.mark.parametrize("family", ["vae", "gan"])
def test_pictures_of_a_trained_model_by_the_command(project, whole, family):
    if family == "vae":
        assert run(project, "train", "vae").returncode == 0
    drawn = run(project, "sample", "--model", f"models/{family}", "--label", "3", "--count", "5", "--out", "five.png")
    assert drawn.returncode == 0, drawn.stderr
    assert f"5 pictures of a {family}" in drawn.stdout
    assert (project / "five.png").exists()
    refused = run(project, "sample", "--model", f"models/{family}", "--steps", "10")
    assert refused.returncode == 2
    assert "draws in one pass" in refused.stderr
