"""A killed ``dvc``: the next run is not held up."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipelines import project

STAGE = "prepare@images"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("SCRATCH_LOG", str(tmp_path / "log.jsonl"))
    return project.make(tmp_path / "project")


def repro(place: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["dvc", "--wait-for-lock", "repro", "--single-item", STAGE],
        cwd=place, env=os.environ | {"PATH": project.PATH} | extra, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_dvc_blocks_no_other_run(place, tmp_path):
    slow = subprocess.Popen(
        ["dvc", "repro", "--single-item", STAGE],
        cwd=place, env=os.environ | {"PATH": project.PATH, "SCRATCH_SLOW": "prepare"}, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not project.events(tmp_path / "log.jsonl"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(slow.pid, signal.SIGKILL)
    slow.wait()
    done = repro(place)
    assert done.returncode == 0, done.stderr
    assert "up to date" in repro(place).stdout
