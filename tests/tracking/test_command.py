"""The real command with a tracking store that is missing, broken, held by another, or killed in the middle."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepladder import history
from stepladder.journal import record
from stepladder.params import render
from stepladder.tracking import runs, store
from tests import digits
from tests.tracking import made
from tests.tracking.test_server import Server

TRAIN = ("train", "diffusion", "--timesteps", "20")
STEPS = 1000


def environment(**variables: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "STEPLADDER_", "DVC_")) or name == "STEPLADDER_SLOTS_FOLDER"
    }
    return kept | {"OMP_NUM_THREADS": "1"} | variables


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stepladder", *arguments]


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=120
    )


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def configure(folder: Path, steps: int) -> None:
    training = {"steps": steps, "batch_size": 8, "warmup_steps": 1, "validate_every": steps}
    params = digits.params(diffusion={"training": training, "unet": {"channels": 8, "channel_mult": [1], "blocks": 1}})
    (folder / "params.yaml").write_text(render(params))


@pytest.fixture
def prepared(project) -> Path:
    """A project in which everything but the store is ready for a training of three steps."""
    shutil.copytree(digits.prepared(), project / "data" / "images")
    configure(project, steps=3)
    return project


def refuses(folder: Path, sentence: str, **variables: str) -> None:
    """Training is refused at once, with one sentence that says how to go on, and leaves nothing behind."""
    before = sorted(path.name for path in folder.iterdir())
    start = time.monotonic()
    done = run(folder, *TRAIN, **variables)
    assert time.monotonic() - start < 20
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert re.fullmatch(rf"stepladder: [^\n]*{sentence}[^\n]*STEPLADDER_TRACKING=journal[^\n]*\.\n", done.stderr), (
        done.stderr
    )
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_server_that_is_not_there(prepared):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        refuses(
            prepared, rf"{address}, which MLFLOW_TRACKING_URI names.*Connection refused", MLFLOW_TRACKING_URI=address
        )


def test_a_database_that_another_holds(prepared):
    holder = sqlite3.connect(prepared / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        refuses(prepared, "database is locked")
    finally:
        holder.close()


def test_a_file_that_is_no_database(prepared):
    file = prepared / "mlruns" / "mlflow.db"
    file.write_text("these are notes and no database\n" * 100)
    refuses(prepared, "file is not a database")
    assert file.read_text().startswith("these are notes"), "a user's file is left as it is"


def test_a_folder_that_is_not_there(prepared):
    refuses(prepared, "absent is not a folder", MLFLOW_TRACKING_URI=f"sqlite:///{prepared}/absent/mlflow.db")


@pytest.mark.parametrize("arguments", [("register",), ("sync",)])
def test_what_needs_the_store_is_refused_without_it(prepared, arguments):
    (prepared / "mlruns" / "mlflow.db").write_text("these are notes and no database\n" * 100)
    done = run(prepared, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"stepladder: [^\n]*file is not a database[^\n]*\n", done.stderr), done.stderr


@pytest.mark.slow
def test_a_training_goes_on_without_a_store_and_is_sent_later(prepared):
    done = run(prepared, *TRAIN, MLFLOW_TRACKING_URI="http://127.0.0.1:9", STEPLADDER_TRACKING="journal")
    assert done.returncode == 0, done.stderr
    model = prepared / "models" / "diffusion" / "T20"
    before = contents(model)
    assert history.run(model)["run_id"] is None

    sent = run(prepared, "sync")
    assert (sent.returncode, sent.stderr) == (0, "")
    assert "1 journals" in sent.stdout
    found = runs.of_model(model)
    assert store.client().get_run(found["run_id"]).info.status == "FINISHED"
    assert contents(model) == before, "what DVC keeps is not altered"


@pytest.mark.slow
def test_compare_and_register_say_what_matters_and_nothing_else(project):
    """No progress bars, no migrations, no announcements: they would bury the verdict."""
    made.diffusion(project / "models" / "diffusion" / "T20")
    made.translation(project / "models" / "transformer")
    made.comparison(project / "reports")
    (project / "params.yaml").write_text(render(digits.params(decoding={"beam_size": 2, "max_length": 8})))
    for file in (project / "mlruns").iterdir():
        file.unlink()
    done = run(project, "register")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "diffusion-digits version 1 @challenger, @champion: champion, the first: frechet 0.6",
        "transformer-names version 1 @challenger, @champion: champion, the first: chrf 50",
    ]


@pytest.fixture
def server(project, monkeypatch) -> Iterator[Server]:
    server = Server(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_a_training_survives_its_server(server, prepared):
    """The server is killed when it has the first figures; the training ends well and its journal is sent later."""
    configure(prepared, STEPS)
    training = subprocess.Popen(
        command(*TRAIN),
        cwd=prepared, env=environment(MLFLOW_TRACKING_URI=server.address),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_for_figures(prepared)
        server.kill()
        assert training.poll() is None, "it was killed in the middle"
        said, _ = training.communicate(timeout=120)
    finally:
        training.kill()
    assert training.returncode == 0, said
    assert said.lower().count("the training goes on") == 1, said
    assert "`stepladder sync`" in [line for line in said.splitlines() if line.startswith("tracking: ")][-1]
    assert "Traceback" not in said

    model = prepared / "models" / "diffusion" / "T20"
    expected = [
        (name, line["step"]) for line in record.read(history.journal(model)) for name in line.get("metrics", {})
    ]
    assert len(set(expected)) == len(expected)
    assert max(step for _, step in expected) == STEPS
    run_id = history.run(model)["run_id"]
    server.start()
    client = store.client()
    before = client.get_run(run_id)
    assert before.info.status == "RUNNING"
    assert 0 < len(client.get_metric_history(run_id, "train/loss")) < sum(name == "train/loss" for name, _ in expected)

    for _ in range(2):
        sent = run(prepared, "sync", MLFLOW_TRACKING_URI=server.address)
        assert (sent.returncode, sent.stderr) == (0, "")
        there = client.get_run(run_id)
        assert there.info.status == "FINISHED"
        points = [(p.key, p.step) for name in there.data.metrics for p in client.get_metric_history(run_id, name)]
        assert sorted(points) == sorted(expected)


def wait_for_figures(folder: Path) -> None:
    """Until the server has stored a figure of the training."""
    with sqlite3.connect(f"file:{folder}/mlruns/mlflow.db?mode=ro", uri=True) as database:
        for _ in range(600):
            if database.execute("SELECT count(*) FROM metrics WHERE key = 'train/loss'").fetchone()[0]:
                return
            time.sleep(0.1)
    raise AssertionError("the server was sent nothing")
