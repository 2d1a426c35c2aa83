"""A real `mlflow server` that goes away in the middle of a training and comes back."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from stepladder import history
from stepladder.errors import UserError
from stepladder.tracking import health, runs, store
from stepladder.tracking.forward import forward
from stepladder.tracking.sync import sync
from tests.tracking import made


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as any_free:
            any_free.bind(("127.0.0.1", 0))
            self.port = any_free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.folder}/mlruns/mlflow.db",
            "--artifacts-destination", str(self.folder / "stored"),
        ]  # fmt: skip
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(project, monkeypatch):
    server = Server(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(server, project):
    health.check()
    folder = project / ".checkpoints" / "key20"
    run = runs.open_run(made.header())
    assert run["tracking_uri"] == server.address
    journal = made.journal(folder, steps=3, pictures=True)
    assert forward(journal, run) == 4

    server.kill()
    with journal.open("a") as file:
        file.writelines(json.dumps(made.line(step)) + "\n" for step in (4, 5))
    written = journal.read_bytes()
    start = time.monotonic()
    with pytest.raises(
        UserError, match=rf"{server.address} failed \(Connection refused\); what it lacks, `stepladder sync`"
    ):
        forward(journal, run)
    assert time.monotonic() - start < 5
    assert journal.read_bytes() == written
    with pytest.raises(UserError, match="does not answer"):
        health.check()

    server.start()
    health.check()
    assert sync([folder]).startswith("1 journals, 2 lines sent: ")
    assert sync([folder]).startswith("1 journals, 0 lines sent: ")
    points = store.client().get_metric_history(run["run_id"], "train/loss")
    assert sorted(p.step for p in points) == [1, 2, 3, 4, 5]
    assert [f.path for f in store.client().list_artifacts(run["run_id"], "previews")] == ["previews/step-3.png"]
    assert runs.of_header(made.header())["status"] == "KILLED"
    model = made.finished(project / "models" / "T20")
    (history.folder_of("key20") / history.RUN).write_text(json.dumps({"run_id": "0" * 32}))
    assert runs.of_model(model)["run_id"] == run["run_id"]
