"""Addresses in the MLflow page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

LOCAL = "http://127.0.0.1:5000"


def mlflow_address(run: Mapping[str, Any] | None = None) -> tuple[str, bool]:
    """(address of the MLflow page, whether it is the local one that ``make ui`` starts).

    It is ``MLFLOW_TRACKING_URI`` where that is a server, else the server that ``run`` was sent to, else the local one. A
    user name and password in the address are left out: the report is made to be passed on.
    """
    for uri in (os.environ.get("MLFLOW_TRACKING_URI", ""), str((run or {}).get("tracking_uri") or "")):
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https") and parts.hostname:
            host = parts.netloc.rpartition("@")[2]
            return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", "")), False
    return LOCAL, True


def run_address(run: Mapping[str, Any]) -> str | None:
    """The page of a run, ``None`` where the training was not tracked."""
    if not run.get("run_id"):
        return None
    address, identity = mlflow_address(run)[0], quote(str(run["run_id"]), safe="")
    if run.get("experiment_id"):
        return f"{address}/#/experiments/{quote(str(run['experiment_id']), safe='')}/runs/{identity}"
    return f"{address}/#/runs/{identity}"


def version_address(name: str, version: str) -> str:
    """The page of a version of a registered model."""
    return f"{mlflow_address()[0]}/#/models/{quote(name, safe='')}/versions/{quote(version, safe='')}"
