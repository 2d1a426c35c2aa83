"""One real Prefect server for all tests of the flows, and a project of its own for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines import project


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the API of a fresh Prefect server, a process of its own, to which this process's flows report."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    quiet = {PREFECT_HOME: tmp_path_factory.mktemp("prefect"), PREFECT_SERVER_ANALYTICS_ENABLED: False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        with temporary_settings(quiet), prefect_test_harness(server_startup_timeout=120):
            yield PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("committed") / "project")


@pytest.fixture
def scratch(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, which is the current folder, with two device slots and a log of its stages' starts."""
    folder = tmp_path / "project"
    shutil.copytree(committed, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("STEPLADDER_SLOTS", "2")
    monkeypatch.setenv("SCRATCH_LOG", str(tmp_path / "log.jsonl"))
    return folder


@pytest.fixture
def log(scratch: Path) -> Path:
    return Path(os.environ["SCRATCH_LOG"])
