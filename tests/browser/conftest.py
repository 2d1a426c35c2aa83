"""``make ui`` on a small project, and a Chromium that looks at it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import server
from tests.pipelines import project

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True)
class Served:
    """The project in ``folder``, its servers' addresses, and the process that ended with the servers."""

    folder: Path
    prefect: str
    mlflow: str
    reports: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = project.make(tmp_path_factory.mktemp("served") / "project")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "STEPLADDER_"))}
    environment |= {
        "PYTHONPATH": f"{project.ROOT}{os.pathsep}{project.ROOT / 'src'}", "PYTHONUNBUFFERED": "1",
        "SCRATCH_LOG": str(folder.parent / "log.jsonl"),
        "STEPLADDER_PREFECT_PORT": str(free_port()), "STEPLADDER_MLFLOW_PORT": str(free_port()),
        "STEPLADDER_REPORTS_PORT": str(free_port()), "STEPLADDER_SLOTS_FOLDER": str(folder.parent / "slots"), "STEPLADDER_SLOTS": "2",
        "SCRATCH_SLOW": "train-diffusion:666",
    }  # fmt: skip
    process, said = server.start(
        [sys.executable, "-m", "pipelines.serve"], folder.parent / "serve.log", "Ctrl-C", cwd=folder, env=environment
    )
    try:
        addresses = dict(re.findall(r"^(Prefect|MLflow|Reports)\s+(http://[\d.:]+)", said, re.M))
        assert set(addresses) == {"Prefect", "MLflow", "Reports"}, said
        yield Served(folder, addresses["Prefect"], addresses["MLflow"], addresses["Reports"], process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


def free_port() -> int:
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return int(any_free.getsockname()[1])
