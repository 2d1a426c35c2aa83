"""Several ranks, of one node and of two: the loss of one rank, whatever the strategy and whoever is killed."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch

from stepladder import processes
from stepladder.errors import UserError
from tests.training import project
from tests.training.project import curve, run, start, wait_for_steps, weights

TRAINING = {"steps": 40, "warmup_steps": 5, "validate_every": 20}
SMALL = {
    "diffusion": {
        "unet": {"channels": 8, "channel_mult": [1, 2], "blocks": 1},
        "training": TRAINING | {"batch_size": 32},
    },
    "transformer": {
        "dropout": 0.0,  # is drawn for each rank
        "d_model": 32, "d_ff": 64, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1,
        "training": TRAINING | {"batch_size": 2048, "accumulate": 8},  # long enough steps to be killed amid them
    },
}  # fmt: skip
DIFFUSION, TRANSFORMER = ("train", "diffusion", "--timesteps", "20"), ("train", "transformer")
MODEL = {DIFFUSION: "models/diffusion/T20", TRANSFORMER: "models/transformer"}

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = project.make(tmp_path_factory.mktemp("project"), SMALL)
    for kind in ("images", "text"):
        done = run(folder, "prepare", kind)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(prepared, tmp_path) -> Path:
    """A copy of the project."""
    return shutil.copytree(prepared, tmp_path / "project", ignore=shutil.ignore_patterns("models"))


@pytest.fixture(scope="module")
def one_rank(prepared) -> dict[tuple[str, ...], Path]:
    for training, model in MODEL.items():
        done = run(prepared, *training)
        assert done.returncode == 0, done.stderr
        assert (prepared / model).is_dir()
    return {training: prepared / model for training, model in MODEL.items()}


def assert_same(model: Path, expected: Path) -> None:
    """The loss curves to 1e-5, and the weights, but for those few whose gradient is 0 but for rounding (biases before a
    normalisation): AdamW makes whole steps of it."""
    for name in ("train/loss", "validation/loss"):
        got, wanted = curve(model, name), curve(expected, name)
        assert [step for step, _ in got] == [step for step, _ in wanted]
        assert [loss for _, loss in got] == pytest.approx([loss for _, loss in wanted], abs=1e-5)
    got, wanted = weights(model), weights(expected)
    assert got.keys() == wanted.keys()
    apart = torch.cat([(got[name] - wanted[name]).abs().flatten() for name in wanted])
    assert apart.quantile(0.9) < 1e-4
    assert project.figures(model)["parameters"] == project.figures(expected)["parameters"]
    assert project.figures(model)["train/loss"] == pytest.approx(project.figures(expected)["train/loss"], abs=1e-5)


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [
        child
        for child in children
        if child.cmdline()[-3:-1] == ["-m", "stepladder.training.worker"]
        and "stepladder.launching.ranks" not in child.cmdline()
    ]


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


@slow
@pytest.mark.parametrize(
    ("training", "strategy"),
    [(DIFFUSION, "ddp"), (DIFFUSION, "fsdp"), (TRANSFORMER, "ddp")],
    ids=["diffusion ddp", "diffusion fsdp", "transformer ddp"],
)
def test_two_ranks_have_the_losses_of_one(place, one_rank, training, strategy):
    done = run(place, *training, STEPLADDER_DEVICES="2", STEPLADDER_STRATEGY=strategy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 40/40") == 1, "rank 0 alone speaks"
    assert_same(place / MODEL[training], one_rank[training])
    assert not list(place.glob(".checkpoints/*/")), "a finished training leaves no state"


@slow
def test_what_cannot_be_sharded_is_told_so(place):
    refused = run(place, *TRANSFORMER, STEPLADDER_DEVICES="2", STEPLADDER_STRATEGY="fsdp")
    assert refused.returncode == 2
    assert "use ddp" in refused.stderr


@slow
def test_a_killed_rank_ends_the_training_and_the_other_strategy_goes_on(place, one_rank):
    training = start(place, *DIFFUSION, STEPLADDER_DEVICES="2", STEPLADDER_STRATEGY="fsdp")
    wait_for_steps(place, 10)
    ranks_of(training)[1].kill()
    assert "ended with signal 9" in ended(training, 137)
    done = run(place, *DIFFUSION, STEPLADDER_DEVICES="2", STEPLADDER_STRATEGY="ddp")
    assert done.returncode == 0, done.stderr
    assert "resumes at step" in done.stdout
    assert_same(place / MODEL[DIFFUSION], one_rank[DIFFUSION])


@slow
def test_a_killed_rank_is_started_again(place, one_rank):
    training = start(place, *TRANSFORMER, STEPLADDER_DEVICES="2", STEPLADDER_RESTARTS="1")
    wait_for_steps(place, 10)
    ranks_of(training)[0].kill()
    assert "resumes at step" in ended(training)
    assert_same(place / MODEL[TRANSFORMER], one_rank[TRANSFORMER])


@slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_sigterm_ends_all_ranks_after_the_same_step(place, one_rank, strategy):
    extra = {"STEPLADDER_DEVICES": "2", "STEPLADDER_STRATEGY": strategy}
    training = start(place, *DIFFUSION, STEPLADDER_CHECKPOINT_SECONDS="3600", **extra)
    deadline = time.monotonic() + 120
    while not any('"step": 10' in file.read_text() for file in place.glob(".checkpoints/*/journal.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    training.send_signal(signal.SIGTERM)
    ended(training, 143)
    assert list(place.glob(".checkpoints/*/last.ckpt")), "saved when told to end"
    done = run(place, *DIFFUSION)
    assert "resumes at step" in done.stdout
    assert_same(place / MODEL[DIFFUSION], one_rank[DIFFUSION])


@slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_ranks_with_uneven_shares_of_the_last_batch_do_not_hang(place, strategy):
    """Of 359 held-out pictures the second batch has one: the second rank has none of it."""
    text = (place / "params.yaml").read_text()
    shorter = {"diffusion": SMALL["diffusion"] | {"training": {"steps": 2, "batch_size": 358, "validate_every": 1}}}
    project.make(place, shorter)
    assert (place / "params.yaml").read_text() != text
    assert run(place, *DIFFUSION).returncode == 0
    expected = curve(place / MODEL[DIFFUSION], "validation/loss")
    done = run(place, *DIFFUSION, STEPLADDER_DEVICES="2", STEPLADDER_STRATEGY=strategy)
    assert done.returncode == 0, done.stderr
    got = curve(place / MODEL[DIFFUSION], "validation/loss")
    assert [loss for _, loss in got] == pytest.approx([loss for _, loss in expected], abs=1e-5)


def nodes(places: list[Path], training: tuple[str, ...], number: str, port: str) -> list[subprocess.Popen[str]]:
    """A launcher for each node, each with device slots of its own, as on a machine of its own."""
    meeting = {"STEPLADDER_NODES": number, "STEPLADDER_RENDEZVOUS": f"127.0.0.1:{port}"}
    return [
        start(
            place, *training,
            STEPLADDER_NODE_RANK=str(node), STEPLADDER_SLOTS_FOLDER=str(place.parent / f"slots-{node}"), **meeting,
        )
        for node, place in enumerate(places)
    ]  # fmt: skip


@slow
def test_two_nodes_without_a_common_folder_killed_and_started_again(place, tmp_path, one_rank):
    places = [place, shutil.copytree(place, tmp_path / "other")]
    running = nodes(places, DIFFUSION, "2", free_port())
    wait_for_steps(place, 10)
    os.killpg(running[1].pid, signal.SIGKILL)
    assert running[0].wait(timeout=120) != 0, "the others do not wait for a node that is gone"
    for process in running:
        process.communicate()
    running = nodes(places, DIFFUSION, "2", free_port())
    outputs = [ended(process) for process in running]
    assert "resumes at step" in outputs[0]
    assert_same(place / MODEL[DIFFUSION], one_rank[DIFFUSION])
    assert not (places[1] / "models").exists(), "node 0 alone has the model"
    assert not any(list(folder.glob(".checkpoints/*/")) for folder in places)


@slow
def test_nodes_of_different_trainings_are_told_so(place, tmp_path):
    other = shutil.copytree(place, tmp_path / "other")
    text = (other / "params.yaml").read_text()
    (other / "params.yaml").write_text(text.replace("steps: 40", "steps: 41"))
    outputs = [ended(process, 2) for process in nodes([place, other], DIFFUSION, "2", free_port())]
    assert all("are of another training than rank 0" in output for output in outputs)


@slow
def test_elastic_training_goes_on_when_a_rank_is_killed(place, one_rank):
    running = nodes([place, place], TRANSFORMER, "2:2", free_port())
    wait_for_steps(place, 10)
    ranks_of(running[1])[0].kill()
    outputs = [ended(process) for process in running]
    assert any("resumes at step" in output for output in outputs)
    assert_same(place / MODEL[TRANSFORMER], one_rank[TRANSFORMER])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"STEPLADDER_DEVICES": "0"}, "STEPLADDER_DEVICES='0'"),
        ({"STEPLADDER_NODES": "many"}, "STEPLADDER_NODES='many'"),
        ({"STEPLADDER_NODES": "4:2"}, "STEPLADDER_NODES='4:2'"),
        ({"STEPLADDER_NODES": "2"}, "STEPLADDER_RENDEZVOUS='' is not host:port"),
        (
            {"STEPLADDER_NODES": "2", "STEPLADDER_RENDEZVOUS": "a:1", "STEPLADDER_NODE_RANK": "2"},
            "STEPLADDER_NODE_RANK='2' is not the number of this node, 0 to 1",
        ),
        ({"STEPLADDER_RESTARTS": "-1"}, "STEPLADDER_RESTARTS='-1'"),
        ({"STEPLADDER_STRATEGY": "magic"}, "STEPLADDER_STRATEGY='magic' is not one of ddp, fsdp"),
    ],
)
def test_a_wrong_environment_is_one_sentence(monkeypatch, given, words):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        processes.world()
