"""The records of models to be registered and of the outcome, which all packages may read."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from stepladder.text_tasks.record import Settings


class Figure(TypedDict):
    """The figure that a model is judged by."""

    name: str
    value: float


class Registration(TypedDict):
    """One model; the keys of its store, ``history.REGISTRATION``, are kept in the history."""

    name: str
    key: NotRequired[str]
    settings: NotRequired[Settings]
    figure: NotRequired[Figure]
    version: NotRequired[str]
    aliases: NotRequired[list[str]]
    run_id: NotRequired[str | None]
    why: NotRequired[str]  # the gate's verdict


class Registered(TypedDict):
    """``reports/registered.json``."""

    models: list[Registration]
    tracking_uri: NotRequired[str]
    why: NotRequired[str]  # why no store was used
