"""``make ui``: the Prefect server, the MLflow server, the reports and the served flows on loopback, until Ctrl-C.

If ``PREFECT_API_URL`` or ``MLFLOW_TRACKING_URI`` names a server, that one is used instead. The ports are 4200, 5000 and
5080, or ``STEPLADDER_PREFECT_PORT``, ``STEPLADDER_MLFLOW_PORT`` and ``STEPLADDER_REPORTS_PORT``; if a default port is taken,
a free one is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from pipelines import deployed
from stepladder import project
from stepladder.errors import UserError
from stepladder.tracking import store

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
}


class Stop(Exception):
    """The user stops the servers: Ctrl-C or SIGTERM."""


class Services:
    """Child processes, each with its own log, which are ended together in the reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start ``command`` as the child ``name``, in a session of its own."""
        with (self.logs / f"{name}.log").open("wb") as log:
            self.children[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until(self, answers: Callable[[], bool], name: str) -> None:
        """Return when ``name`` answers; raises ``UserError`` with the end of its log where it ends or takes too long."""
        end = time.monotonic() + START_SECONDS
        while not answers():
            self.check()
            if time.monotonic() > end:
                raise UserError(f"{name} does not answer after {START_SECONDS:.0f} s. {self._log_end(name)}")
            time.sleep(0.3)

    def check(self) -> None:
        """Raise ``UserError`` with the end of the log of a child that has ended."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise UserError(f"{name} ended with exit code {child.returncode}. {self._log_end(name)}")

    def stop(self) -> None:
        """End the children one after the other, the last started first, and whatever any of them started."""
        for child in reversed(self.children.values()):
            processes = _process_tree(child.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            for process in psutil.wait_procs(processes, timeout=STOP_SECONDS)[1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def _log_end(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
        return f"Its last words, of {log}: {' / '.join(lines[-3:])}"


def main() -> int:
    """Start the servers that do not run yet, and wait for Ctrl-C or SIGTERM; returns the exit code."""

    def stop(*_: object) -> None:
        raise Stop

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    root = project.root().resolve()
    os.chdir(root)
    services = Services(root / ".prefect" / "logs")
    try:
        _start(root, services)
        while True:
            services.check()
            time.sleep(1)
    except Stop:
        print("\nstopping ...", flush=True)
        return 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        services.stop()


def _start(root: Path, services: Services) -> None:
    environment = SETTINGS | {"PREFECT_HOME": str(root / ".prefect")} | os.environ
    python = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([python, environment.get("PATH", os.defpath)])

    api = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not api:
        port = _port("STEPLADDER_PREFECT_PORT", 4200)
        api = f"http://{HOST}:{port}/api"
        environment |= {"PREFECT_UI_API_URL": api, "PREFECT_UI_URL": api.removesuffix("/api")}
        services.start(
            "prefect", [f"{python}/prefect", "server", "start", "--host", HOST, "--port", str(port)], environment
        )
    environment["PREFECT_API_URL"] = api

    tracking, mlflow = store.uri(), store.safe_uri()
    if tracking and not tracking.startswith(("http://", "https://")):
        store.client()
        port = _port("STEPLADDER_MLFLOW_PORT", 5000)
        mlflow = f"http://{HOST}:{port}"
        services.start(
            "mlflow",
            [f"{python}/mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1",
             "--artifacts-destination", str(store.home() / "artifacts")],
            environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": tracking},
        )  # fmt: skip
    environment["STEPLADDER_MLFLOW_PAGE"] = mlflow

    reports = root / "reports"
    reports.mkdir(exist_ok=True)
    port = _port("STEPLADDER_REPORTS_PORT", 5080)
    environment["STEPLADDER_REPORTS_PAGE"] = page = f"http://{HOST}:{port}"
    services.start(
        "reports",
        [sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", str(reports)],
        environment,
    )

    print("starting; the first time takes longest ...", flush=True)
    services.wait_until(lambda: _answers(f"{api}/health"), "prefect")
    _make_automations(environment)
    services.start("flows", [sys.executable, "-m", "pipelines.deployments"], environment)
    services.wait_until(lambda: _flows_are_ready(api), "flows")
    if mlflow:
        services.wait_until(lambda: _answers(f"{mlflow}/health"), "mlflow")
    print(f"\nPrefect   {api.removesuffix('/api')}/deployments   start a run: choose a flow, then Run > Custom run")
    print(f"MLflow    {mlflow or 'not in use (STEPLADDER_TRACKING=journal, or not installed)'}")
    print(f"Reports   {page}   of the workspace, and below experiments/ of each run with other parameters")
    print(f"Logs      {services.logs}\n\nCtrl-C stops all of them.", flush=True)


def _make_automations(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pipelines.automations"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_SECONDS)
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or ["The automations were not made."])[-1])


def _port(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    if value:
        if not value.isdigit() or not 0 < int(value) < 65536:
            raise UserError(f"{variable}={value!r} is not a port, 1 to 65535.")
        if not _is_free(int(value)):
            raise UserError(f"Port {value}, named by {variable}, is taken; name another.")
        return int(value)
    if _is_free(default):
        return default
    with socket.socket() as any_free:
        any_free.bind((HOST, 0))
        return int(any_free.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _flows_are_ready(api: str) -> bool:
    for flow in deployed():
        try:
            with urllib.request.urlopen(f"{api}/deployments/name/{flow}/this-machine", timeout=5) as answer:
                if json.load(answer).get("status") != "READY":
                    return False
        except (OSError, urllib.error.URLError):
            return False
    return True


def _process_tree(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    sys.exit(main())
