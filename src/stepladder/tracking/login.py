"""Checks with MLflow's own client, before any work starts, that an MLflow server lets this user in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from stepladder.errors import UserError
from stepladder.tracking import store

REFUSALS = (401, 403)


class Refused(UserError):
    """The server does not know the login, or does not allow it to do this."""


@store.answering()
def ask() -> None:
    """Raise ``Refused`` where the server lets nobody in with the login that MLflow finds: its variables, or ``~/.mlflow/credentials``."""
    with permitted("see its experiments"):
        store.client().search_experiments(max_results=1)


@contextmanager
def permitted(what: str) -> Iterator[None]:
    """Turn a server's refusal into a sentence with the user and how to log in; ``what`` is the action that was refused."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        status = error.get_http_status_code()
        if status not in REFUSALS or not store.is_server():
            raise
        does = "knows no such login" if status == 401 else f"does not allow this login to {what}"
        raise Refused(
            f"The tracking server {store.safe_uri()} {does} ({_who()}; HTTP status {status}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or write ~/.mlflow/credentials, as its administrator says, "
            f"or {store.WITHOUT}."
        ) from None


def _who() -> str:
    """The login that MLflow's client uses: a name with a password comes before a token."""
    from mlflow.utils.credentials import read_mlflow_creds

    login = read_mlflow_creds()
    if login.username and login.password:
        return f"user {login.username}"
    if os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return "a token was given"
    if login.username or login.password:
        return "a name without a password, or a password without a name, was given"
    return "no login was given"
