"""Which tracking store there is, and whether it answers."""

from __future__ import annotations

import importlib.util
import os
import socket
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from stepladder import project
from stepladder.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCKED_AFTER = 3.0  # seconds for which nobody else gets to write
WITHOUT = "to train without a store, set STEPLADDER_TRACKING=journal: `stepladder sync` sends the figures later"


def uri() -> str:
    """The store: ``MLFLOW_TRACKING_URI``, else SQLite in the project's ``mlruns/``; "" where there is to be none.

    There is none with ``STEPLADDER_TRACKING=journal`` and on a machine without MLflow.
    """
    if os.environ.get("STEPLADDER_TRACKING") == "journal" or importlib.util.find_spec("mlflow") is None:
        return ""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def home() -> Path:
    """The project's own store and its artifacts."""
    return (project.root() / "mlruns").resolve()


def check() -> None:
    """Raise ``UserError`` where the store cannot be written to; takes no longer than a few seconds."""
    address = uri()
    if address.startswith("sqlite:///"):
        _check_sqlite(Path(unquote(address.removeprefix("sqlite:///"))))
    elif address.startswith(("http://", "https://")):
        _check_server(address)


def _check_sqlite(file: Path) -> None:
    if file.parent == home():
        file.parent.mkdir(parents=True, exist_ok=True)
    if not file.parent.is_dir():
        raise UserError(
            f"The tracking store {file} cannot be made: {file.parent} is not a folder; make it, or {WITHOUT}."
        )
    if not os.access(file.parent, os.W_OK):
        raise UserError(
            f"The tracking store's folder {file.parent} cannot be written to; mend its permissions, or {WITHOUT}."
        )
    if not file.exists():
        return
    try:
        connection = sqlite3.connect(file, timeout=LOCKED_AFTER, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise UserError(
            f"The tracking store {file} cannot be written to ({error}); end the process that holds it, or {WITHOUT}."
        ) from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"The tracking store {file} is damaged ({error}); put back an intact copy, or {WITHOUT}."
        ) from None


def _check_server(address: str) -> None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=LOCKED_AFTER).close()
    except OSError as error:
        shown = f"{parts.scheme}://{parts.hostname}:{port}"
        raise UserError(
            f"The tracking server {shown}, which MLFLOW_TRACKING_URI names, does not answer ({error.strerror or error}); "
            f"start it or unset the variable; {WITHOUT}."
        ) from None


def client() -> MlflowClient:
    """MLflow's client of the store, which gives up after seconds, not minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    _prepare(uri())
    mlflow.set_tracking_uri(uri())
    return mlflow.MlflowClient(tracking_uri=uri(), registry_uri=uri())


def lock(name: str) -> FileLock:
    """A lock between the project's processes on this machine."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / f".{name}.lock")


@cache
def _prepare(address: str) -> None:
    """Bring a SQLite store's tables into being, one process at a time: a fresh file is a race (mlflow#18534)."""
    if address.startswith("sqlite:///"):
        with lock("migrate"):
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            (home() / "artifacts").mkdir(parents=True, exist_ok=True)
            SqlAlchemyStore(address, (home() / "artifacts").as_uri())


def experiment(name: str) -> str:
    """Id of the experiment ``name``, made where it is missing."""
    mlflow_client = client()
    with lock("experiment"):
        found = mlflow_client.get_experiment_by_name(name)
        if found is None:
            own = uri().startswith("sqlite:///")
            location = (home() / "artifacts" / name).as_uri() if own else None
            return str(mlflow_client.create_experiment(name, artifact_location=location))
        if found.lifecycle_stage != "active":
            mlflow_client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(1000 * time.time())
