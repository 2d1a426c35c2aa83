"""Which tracking store is used, and MLflow's client for it."""

from __future__ import annotations

import importlib.util
import os
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from filelock import FileLock

from stepladder import project
from stepladder.errors import UserError
from stepladder.tracking import location

if TYPE_CHECKING:
    from mlflow import MlflowClient

WITHOUT = "set STEPLADDER_TRACKING=journal to train without a store: `stepladder sync` sends the figures later"
SQLITE = re.compile(r"sqlite(?:\+\w+)?:///")
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
STORE_MODULES = ("mlflow.store.", "mlflow.tracking.", "mlflow.utils.rest_utils", "mlflow.artifacts")
REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # the page shows training runs, not language models' traces


def uri() -> str:
    """The store's address: ``MLFLOW_TRACKING_URI``, else SQLite in the project's ``mlruns/``; "" where no store is used.

    No store is used with ``STEPLADDER_TRACKING=journal`` or without MLflow. The path of a SQLite file is made absolute;
    a relative path starts at the project's folder, whichever folder a stage runs in.
    """
    if os.environ.get("STEPLADDER_TRACKING") == "journal" or importlib.util.find_spec("mlflow") is None:
        return ""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    file = sqlite_file(named) if named else project.root() / "mlruns" / "mlflow.db"
    if file is None:
        return named
    query = named.partition("?")[2]
    return "sqlite:///" + quote(str(file.resolve()), safe="/ :\\") + (f"?{query}" if query else "")


def safe_uri() -> str:
    """The store's address without a user's name and password, which may be printed and kept in files."""
    address = uri()
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else address


def is_server() -> bool:
    """Whether the store is an MLflow server, which may know users."""
    return uri().startswith(("http://", "https://"))


def home() -> Path:
    """The folder of locks, and of a SQLite store's artifacts: that of its file, else the project's ``mlruns/``."""
    file = sqlite_file(uri())
    return file.parent if file is not None else (project.root() / "mlruns").resolve()


def bring_home() -> str:
    """Move the artifacts of a SQLite store of any version to its folder; returns a sentence that says what was done."""
    file = sqlite_file(uri())
    if file is None or not file.exists():
        return f"There is nothing to bring home: {safe_uri() or 'no store'} is no SQLite store that is there."
    with lock("migrate"):
        return location.bring_home(file)


def exists() -> bool:
    """Whether a store may have runs: the SQLite file exists, or another kind of store is named."""
    file = sqlite_file(uri())
    return bool(uri()) if file is None else file.exists()


def prepare() -> None:
    """Create the store before several processes use it at once; does nothing where no store is used."""
    if uri():
        client()


def client() -> MlflowClient:
    """MLflow's client of the store, which gives up after seconds, not minutes. Creates the store where it is missing."""
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
    """A server's address without its login, since MLflow prints it; name and password go into MLflow's variables."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username or ""))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return safe_uri()


def lock(name: str) -> FileLock:
    """A lock for all processes of this machine that use the store."""
    home().mkdir(parents=True, exist_ok=True)
    return FileLock(home() / f".{name}.lock")


def experiment(name: str) -> str:
    """Id of the experiment ``name``, which is created where it is missing."""
    from mlflow.exceptions import MlflowException

    mlflow_client = client()
    with lock("experiment"):
        existing = mlflow_client.get_experiment_by_name(name)
        if existing is None:
            is_sqlite = sqlite_file(uri()) is not None
            location = (home() / "artifacts" / name).as_uri() if is_sqlite else None
            try:
                return str(mlflow_client.create_experiment(name, artifact_location=location, tags=KIND))
            except MlflowException:  # another machine was faster
                existing = mlflow_client.get_experiment_by_name(name)
                if existing is None:
                    raise
        if existing.lifecycle_stage != "active":
            mlflow_client.restore_experiment(existing.experiment_id)
        return str(existing.experiment_id)


@contextmanager
def answering() -> Iterator[None]:
    """Turn a failure of the store, its database or its server into a ``UserError`` of one sentence.

    A ``UserError`` that MLflow wrapped, such as a model's answer to a request, is raised as it is; so is every error that
    did not happen in the store.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError):
            raise
        if (inner := _wrapped(error)) is not None:
            raise inner from error
        if not _of_store(error):
            raise
        refused = getattr(error, "error_code", "") in REFUSALS
        raise UserError(
            f"The tracking store {safe_uri()} refuses what is asked of it ({reason(error)})."
            if refused
            else f"The tracking store {safe_uri()} failed ({reason(error)}); what it lacks, `stepladder sync` sends once it works."
        ) from error


def _wrapped(error: BaseException) -> UserError | None:
    """The ``UserError`` among the causes of ``error``."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__
    return cause


def _of_store(error: Exception) -> bool:
    """Whether ``error`` comes from the database or the connection, or from inside MLflow's client or store."""
    package = type(error).__module__.split(".")[0]
    if package in ("sqlalchemy", "requests", "urllib3"):
        return True
    frames = traceback.walk_tb(error.__traceback__)
    return package == "mlflow" and any(
        str(frame.f_globals.get("__name__", "")).startswith(STORE_MODULES) for frame, _ in frames
    )


def now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(1000 * time.time())


@cache
def _migrate(address: str) -> None:
    """Create a SQLite store's tables, one process at a time: concurrent creation is a race (mlflow#18534)."""
    file = sqlite_file(address)
    if file is None:
        return
    with lock("migrate"):
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        (home() / "artifacts").mkdir(parents=True, exist_ok=True)
        SqlAlchemyStore(address, (home() / "artifacts").as_uri())
        location.relocate(file)


def sqlite_file(address: str) -> Path | None:
    """The file that a SQLite address names; ``None`` of any other address."""
    match = SQLITE.match(address)
    return project.root() / unquote(address[match.end() :].partition("?")[0]) if match else None


def reason(error: BaseException) -> str:
    """The root cause of ``error``, in a few words."""
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
