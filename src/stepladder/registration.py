"""What is to be registered, and what became of it, as every floor reads it."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from stepladder.text_tasks.record import Settings


class Figure(TypedDict):
    """The one that counts."""

    name: str
    value: float


class Registration(TypedDict):
    """One model; what is of the store it was registered in, ``history.REGISTRATION``, is history."""

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
    why: NotRequired[str]  # there is no store
