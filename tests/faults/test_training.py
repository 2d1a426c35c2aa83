"""A training whose launcher is killed, whose disk fills up, whose clock jumps: the weights are those of a quiet one."""

import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch

from stepladder import history, lineage
from stepladder.training import checkpoint
from tests.training import project
from tests.training.project import curve, run, start, wait_for_steps, weights

pytestmark = pytest.mark.slow

TRAIN = ("train", "diffusion", "--timesteps", "20")
MODEL = "models/diffusion/T20"
SMALL = {
    "diffusion": {
        "unet": {"channels": 16, "channel_mult": [1], "blocks": 1},
        "training": {"steps": 120, "batch_size": 16, "warmup_steps": 5, "validate_every": 60},
    }
}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> Path:
    """A project with a model whose training nothing disturbed."""
    folder = project.make(tmp_path_factory.mktemp("project"), SMALL)
    assert run(folder, "prepare", "images").returncode == 0
    done = run(folder, *TRAIN)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(quiet, tmp_path) -> Path:
    return shutil.copytree(quiet, tmp_path / "project", ignore=shutil.ignore_patterns("models"))


def assert_same(place: Path, quiet: Path) -> None:
    expected = weights(quiet / MODEL)
    assert all(torch.equal(expected[name], value) for name, value in weights(place / MODEL).items())
    assert curve(place / MODEL) == curve(quiet / MODEL)


def test_of_a_killed_launcher_no_trainer_is_left(place, quiet):
    training = start(place, *TRAIN)
    wait_for_steps(place, 20)
    (trainer,) = psutil.Process(training.pid).children()
    training.kill()
    training.wait()
    assert psutil.wait_procs([trainer], timeout=30)[1] == []
    done = run(place, *TRAIN)
    assert "resumes at step" in done.stdout
    assert_same(place, quiet)


def test_after_an_upgrade_it_begins_anew_and_comes_from_what_is_there_now(place, quiet):
    training = start(place, *TRAIN)
    state = wait_for_steps(place, 20)
    training.kill()
    training.wait()
    for file in state.glob("*.ckpt"):
        saved = torch.load(file, weights_only=True)
        saved[checkpoint.ENVIRONMENT]["torch"] = "2.0.1"
        torch.save(saved, file)
    (state / "origin" / "of-the-first-start").touch()
    done = run(place, *TRAIN)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "checkpoint" in line]
    assert f"was made with torch 2.0.1 (here {torch.__version__}): the training begins anew." in line
    assert_same(place, quiet)
    one, other = (
        folder / history.FOLDER / str(history.key(folder / MODEL)) / lineage.FOLDER for folder in (place, quiet)
    )
    assert {file.name for file in one.iterdir()} == {file.name for file in other.iterdir()}
    assert history.training(place / MODEL)["environment"] == lineage.deciding()


@pytest.fixture
def small_disk(place):
    """A file system of its own for the checkpoints, with little more room than a training asks for."""
    folder = place / ".checkpoints"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_one_sentence_and_costs_nothing(place, quiet, small_disk):
    training = start(place, *TRAIN)
    wait_for_steps(place, 20)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    said, _ = training.communicate(timeout=120)
    assert training.returncode == 2, said
    assert said.count("stepladder: ") == 1
    assert "is full; free some space and run the same command again" in said
    assert "Traceback" not in said
    filler.unlink()
    done = run(place, *TRAIN)
    assert "resumes at step" in done.stdout, done.stderr
    assert_same(place, quiet)
    shutil.rmtree(place / "models")


def test_clocks_that_jump_stop_no_checkpoint_and_change_no_figure(place, quiet):
    clock = str(Path(__file__).parent / "clock")
    training = start(place, *TRAIN, PYTHONPATH=clock)
    state = wait_for_steps(place, 20)
    first = (state / "last.ckpt").stat().st_ino
    deadline = time.monotonic() + 60
    while (state / "last.ckpt").exists() and (state / "last.ckpt").stat().st_ino == first:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    training.kill()
    training.wait()
    done = run(place, *TRAIN, PYTHONPATH=clock)
    assert done.returncode == 0, done.stderr
    assert_same(place, quiet)
