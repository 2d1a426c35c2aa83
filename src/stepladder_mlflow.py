"""What MLflow calls to open a SQLite store wherever Stepladder is installed: entry points of ``pyproject.toml``.

So ``mlflow ui`` and ``mlflow.pyfunc.load_model`` find the artifacts of a project that was moved even when they are the first to
open its store. A store that Stepladder did not make is opened as MLflow opens it. This module imports nothing of ``stepladder``: a
registered model is loaded with the code that it was registered with, which a process that has imported another does not do.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """MLflow's store of runs."""
    from mlflow.tracking._tracking_service.utils import _get_sqlalchemy_store

    _settle(store_uri)
    return _get_sqlalchemy_store(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> Any:
    """MLflow's store of registered models."""
    from mlflow.tracking._model_registry.utils import _get_sqlalchemy_store

    _settle(store_uri)
    return _get_sqlalchemy_store(store_uri)


def _settle(store_uri: str) -> None:
    """Before a store that was moved is read, by a process of its own; one that cannot be written to is read as it is."""
    from sqlalchemy.engine import make_url

    database = make_url(store_uri).database
    if database and database != ":memory:" and _has_moved(Path(database).resolve()):
        subprocess.run([sys.executable, "-m", "stepladder.tracking.location", database], check=False)


def _has_moved(file: Path) -> bool:
    """Whether the store says that it lies elsewhere, see ``stepladder.tracking.location``."""
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
            kept: tuple[str] | None = store.execute("SELECT uri FROM stepladder_home").fetchone()
            return kept != (file.parent.as_uri(),)
    except sqlite3.Error:
        return False
