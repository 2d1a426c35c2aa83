from pathlib import Path

import pytest

from tests.studies import made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    made.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
