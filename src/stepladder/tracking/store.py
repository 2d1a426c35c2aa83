"""Which tracking store there is, and whether it answers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import sqlite3
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from filelock import FileLock

from stepladder import project
from stepladder.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCKED_AFTER = 3.0  # seconds in which nobody else's write is finished
SILENT_AFTER = 10.0  # seconds in which a server that is there says nothing
WITHOUT = "set STEPLADDER_TRACKING=journal to train without a store: `stepladder sync` sends the figures later"
SQLITE = re.compile(r"sqlite(?:\+\w+)?:///")
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
}
KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # the page shows training runs, not language models' traces


def uri() -> str:
    """The store: ``MLFLOW_TRACKING_URI``, else SQLite in the project's ``mlruns/``; "" where there is to be none.

    There is none with ``STEPLADDER_TRACKING=journal`` and on a machine without MLflow. A SQLite file is named by its
    absolute path; a relative one is meant from the project's folder, whichever folder a stage runs in.
    """
    if os.environ.get("STEPLADDER_TRACKING") == "journal" or importlib.util.find_spec("mlflow") is None:
        return ""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    file = _sqlite_file(named) if named else project.root() / "mlruns" / "mlflow.db"
    if file is None:
        return named
    query = named.partition("?")[2]
    return "sqlite:///" + quote(str(file.resolve()), safe="/ :\\") + (f"?{query}" if query else "")


def shown() -> str:
    """The store as it may be printed and kept in files: without a user's name and password."""
    address = uri()
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


def home() -> Path:
    """Where locks are, and the artifacts of a SQLite store: beside its file, else the project's ``mlruns/``."""
    file = _sqlite_file(uri())
    return file.parent if file is not None else (project.root() / "mlruns").resolve()


def check() -> None:
    """Raise ``UserError`` where the store cannot be written to; takes no longer than a few seconds."""
    address = uri()
    parts = urlsplit(address)
    file, database = _sqlite_file(address), parts.scheme.partition("+")[0]
    if file is not None:
        _check_sqlite(file)
    elif parts.scheme in ("http", "https"):
        _check_server(address)
    elif database in DATABASE_PORTS:
        _connect(parts.hostname or "localhost", parts.port or DATABASE_PORTS[database])
    elif parts.scheme in ("", "file") and address and address != "databricks":
        raise UserError(
            f"MLFLOW_TRACKING_URI={address} names a folder, in which MLflow keeps no runs any more; name a server "
            "(http://HOST:PORT) or a database (sqlite:////FOLDER/mlflow.db), or unset the variable to use mlruns/."
        )


def exists() -> bool:
    """Whether there is a store that may have runs: a SQLite store's file, or any other that is named."""
    file = _sqlite_file(uri())
    return bool(uri()) if file is None else file.exists()


def prepare() -> None:
    """Bring the store into being before several processes use it at once; does nothing where there is none."""
    if uri():
        client()


def client() -> MlflowClient:
    """MLflow's client of the store, which gives up after seconds, not minutes. Makes the store where it is missing."""
    for name, value in (PATIENCE | QUIET).items():
        os.environ.setdefault(name, value)
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _migrate(uri())
    address = _without_login(uri())
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    return mlflow.MlflowClient(tracking_uri=address, registry_uri=address)


def _without_login(address: str) -> str:
    """A server's address for MLflow, which prints it; the name and password in it go to where MLflow looks for them."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username or ""))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return shown()


def registry() -> MlflowClient:
    """The client of a store that is there; raises ``UserError`` where there is none, or it does not answer."""
    check()
    if not uri():
        raise UserError(
            "There is no tracking store, and so no registry: install mlflow, and unset STEPLADDER_TRACKING."
        )
    return client()


def lock(name: str) -> FileLock:
    """A lock between this machine's users of the store."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / f".{name}.lock")


def experiment(name: str) -> str:
    """Id of the experiment ``name``, made where it is missing."""
    from mlflow.exceptions import MlflowException

    mlflow_client = client()
    with lock("experiment"):
        found = mlflow_client.get_experiment_by_name(name)
        if found is None:
            own = _sqlite_file(uri()) is not None
            location = (home() / "artifacts" / name).as_uri() if own else None
            try:
                return str(mlflow_client.create_experiment(name, artifact_location=location, tags=KIND))
            except MlflowException:  # another machine was faster
                found = mlflow_client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            mlflow_client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


@contextmanager
def answering() -> Iterator[None]:
    """Turn whatever MLflow, its database or its server fails with into a ``UserError`` of one sentence."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "sqlalchemy", "requests", "urllib3"):
            raise
        raise UserError(
            f"The tracking store {shown()} failed ({_reason(error)}); what it lacks, `stepladder sync` sends once it works."
        ) from error


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(1000 * time.time())


@cache
def _migrate(address: str) -> None:
    """Make a SQLite store's tables, one process at a time: a fresh file is a race (mlflow#18534)."""
    if _sqlite_file(address) is None:
        return
    with lock("migrate"):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        (home() / "artifacts").mkdir(parents=True, exist_ok=True)
        SqlAlchemyStore(address, (home() / "artifacts").as_uri())


def _sqlite_file(address: str) -> Path | None:
    """The file that a SQLite address names; ``None`` of any other address."""
    match = SQLITE.match(address)
    return project.root() / unquote(address[match.end() :].partition("?")[0]) if match else None


def _check_sqlite(file: Path) -> None:
    folder = file.parent
    if folder == (project.root() / "mlruns").resolve() and not folder.exists() and os.access(project.root(), os.W_OK):
        folder.mkdir()
    if not folder.is_dir():
        raise UserError(f"The tracking store {file} cannot be made: {folder} is not a folder; make it, or {WITHOUT}.")
    if not os.access(folder, os.W_OK):
        raise UserError(
            f"The tracking store's folder {folder} cannot be written to; mend its permissions, or {WITHOUT}."
        )
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            _take_turn(connection)
    except sqlite3.OperationalError as error:
        raise UserError(
            f"The tracking store {file} cannot be written to ({error}); end the process that holds it, or {WITHOUT}."
        ) from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"The tracking store {file} is damaged ({error}); put back an intact copy, or {WITHOUT}."
        ) from None


def _take_turn(connection: sqlite3.Connection) -> None:
    """Raise where one that holds the database finishes no write in ``LOCKED_AFTER`` seconds.

    Trainings that write at once take turns: as long as someone's write is finished meanwhile, the store is well.
    """

    def finished_writes() -> int | None:
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError:
            return None

    before = finished_writes()
    connection.execute(f"PRAGMA busy_timeout = {int(1000 * LOCKED_AFTER)}")
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        if finished_writes() == before:
            raise


def _check_server(address: str) -> None:
    """The server is there, and is MLflow; who may use it, MLflow's own client finds out."""
    parts = urlsplit(address)
    _connect(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    location = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")).rstrip("/")
    request = urllib.request.Request(
        f"{location}/api/2.0/mlflow/experiments/search?max_results=1", headers=_login(address)
    )
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    trust = ssl._create_unverified_context() if insecure else None
    try:
        with urllib.request.urlopen(request, timeout=SILENT_AFTER, context=trust) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            raise UserError(
                f"The tracking server {shown()}, which MLFLOW_TRACKING_URI names, answers with HTTP status {error.code} where "
                f"MLflow would answer; check the address, or {WITHOUT}."
            ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown()}, which MLFLOW_TRACKING_URI names, does not answer as an MLflow server does ({_reason(error)}); check "
            f"the address, or {WITHOUT}."
        ) from None


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=LOCKED_AFTER).close()
    except OSError as error:
        raise UserError(
            f"The tracking server {shown()}, which MLFLOW_TRACKING_URI names, does not answer ({_reason(error)}); start it, "
            f"unset the variable, or {WITHOUT}."
        ) from None


def _login(address: str) -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    parts = urlsplit(address)
    name = os.environ.get("MLFLOW_TRACKING_USERNAME", unquote(parts.username or ""))
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()} if name else {}


def _reason(error: BaseException) -> str:
    """What is at the bottom of ``error``, in a few words."""
    bottom: BaseException | None = error
    while bottom is not None:
        if isinstance(bottom, TimeoutError):
            return "no answer in time"
        if isinstance(bottom, OSError) and bottom.strerror:
            return bottom.strerror
        inner = getattr(bottom, "reason", None)
        bottom = inner if isinstance(inner, BaseException) else bottom.__cause__ or bottom.__context__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
