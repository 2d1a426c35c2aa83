import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines import serve
from stepladder.errors import UserError
from tests import server
from tests.pipelines.project import ROOT, events


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_it_ends_servers_flows_and_trainings_within_seconds(scratch: Path, log: Path, number):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "SCRATCH_SLOW": "train-diffusion:20"}
    environment |= {"STEPLADDER_TRACKING": "journal"} if number == signal.SIGTERM else {}
    process, said = server.start(
        [sys.executable, "-m", "pipelines.serve"], scratch.parent / "serve.log", "Ctrl-C", cwd=scratch, env=environment
    )
    api = said.split("Prefect")[1].split()[0].replace("/deployments", "/api")
    deployment = httpx.get(f"{api}/deployments/name/sweep/this-machine").json()["id"]
    httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json={})
    while not [e for e in events(log) if e["stage"] == "train-diffusion:20"]:
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 4
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(60) == 0
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert time.monotonic() - began < 30


def test_usual_port_or_a_free_one_or_the_one_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.delenv("STEPLADDER_PREFECT_PORT", raising=False)
        assert serve._port("STEPLADDER_PREFECT_PORT", port) not in (port, 0)
        monkeypatch.setenv("STEPLADDER_PREFECT_PORT", str(port))
        with pytest.raises(UserError, match=f"Port {port}, named by STEPLADDER_PREFECT_PORT, is taken"):
            serve._port("STEPLADDER_PREFECT_PORT", 4200)
    monkeypatch.setenv("STEPLADDER_PREFECT_PORT", "http")
    with pytest.raises(UserError, match="not a port"):
        serve._port("STEPLADDER_PREFECT_PORT", 4200)


def test_a_service_that_ends_is_reported_with_its_last_words(tmp_path):
    services = serve.Services(tmp_path)
    services.start("broken", ["sh", "-c", "echo the disk is full >&2; exit 3"], dict(os.environ))
    with pytest.raises(UserError, match=r"broken ended with exit code 3.*the disk is full"):
        services.wait_until(lambda: False, "broken")
    services.stop()
