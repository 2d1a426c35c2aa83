"""Checks in seconds, before any work starts, that the tracking store can be used."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from stepladder import project
from stepladder.errors import UserError
from stepladder.tracking import location, login, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCKED_AFTER = 3.0  # seconds without a finished write by another process
SILENT_AFTER = 10.0  # seconds to wait for a server's answer
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check() -> None:
    """Raise ``UserError`` where the store cannot be written to; takes no longer than a few seconds."""
    address = store.uri()
    parts = urlsplit(address)
    file, database = store.sqlite_file(address), parts.scheme.partition("+")[0]
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


def registry() -> MlflowClient:
    """The client of a store that answers; raises ``UserError`` where there is none, or it does not answer."""
    check()
    if not store.uri():
        raise UserError(
            "There is no tracking store, and so no registry: install mlflow, and unset STEPLADDER_TRACKING."
        )
    return store.client()


def _check_sqlite(file: Path) -> None:
    folder = file.parent
    if folder == (project.root() / "mlruns").resolve() and not folder.exists() and os.access(project.root(), os.W_OK):
        folder.mkdir()
    if not folder.is_dir():
        raise UserError(
            f"The tracking store {file} cannot be made: {folder} is not a folder; make it, or {store.WITHOUT}."
        )
    if not os.access(folder, os.W_OK):
        raise UserError(
            f"The tracking store's folder {folder} cannot be written to; mend its permissions, or {store.WITHOUT}."
        )
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            _take_turn(connection)
    except sqlite3.OperationalError as error:
        raise UserError(
            f"The tracking store {file} cannot be written to ({error}); end the process that holds it, or {store.WITHOUT}."
        ) from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"The tracking store {file} is damaged ({error}); put back an intact copy, or {store.WITHOUT}."
        ) from None
    location.check(file)


def _take_turn(connection: sqlite3.Connection) -> None:
    """Raise where another process holds the database and finishes no write in ``LOCKED_AFTER`` seconds.

    Trainings that write at the same time take turns: while their writes finish, the store works.
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
    """Raise ``UserError`` unless the server answers, is MLflow, and lets this user in."""
    parts = urlsplit(address)
    _connect(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    base = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")).rstrip("/")
    request = urllib.request.Request(f"{base}/api/2.0/mlflow/experiments/search?max_results=1", headers=_login(address))
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    trust = ssl._create_unverified_context() if insecure else None
    try:
        with urllib.request.urlopen(request, timeout=SILENT_AFTER, context=trust) as answer:
            json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in login.REFUSALS:  # MLflow's client knows of more logins
            return login.ask()
        raise UserError(
            f"The tracking server {store.safe_uri()}, which MLFLOW_TRACKING_URI names, answers with HTTP status {error.code} where "
            f"MLflow would answer; check the address, or {store.WITHOUT}."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{store.safe_uri()}, which MLFLOW_TRACKING_URI names, does not answer as an MLflow server does ({store.reason(error)}); check "
            f"the address, or {store.WITHOUT}."
        ) from None


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=LOCKED_AFTER).close()
    except OSError as error:
        raise UserError(
            f"The tracking server {store.safe_uri()}, which MLFLOW_TRACKING_URI names, does not answer ({store.reason(error)}); start it, "
            f"unset the variable, or {store.WITHOUT}."
        ) from None


def _login(address: str) -> dict[str, str]:
    """The headers that MLflow's client would send, from the environment or the address: a password comes before a token."""
    parts = urlsplit(address)
    name = os.environ.get("MLFLOW_TRACKING_USERNAME", unquote(parts.username or ""))
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    if name and password:
        return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
