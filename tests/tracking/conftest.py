import shutil
from pathlib import Path

import pytest

from stepladder.tracking import store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """A SQLite store with its tables: making them takes seconds."""
    root = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("STEPLADDER_TRACKING", raising=False)
        store.prepare()
    return root / "mlruns" / "mlflow.db"


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    """A project without a store."""
    for name in ("MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(fresh, migrated) -> Path:
    """A project whose store is empty."""
    (fresh / "mlruns").mkdir()
    shutil.copy(migrated, fresh / "mlruns" / "mlflow.db")
    return fresh
