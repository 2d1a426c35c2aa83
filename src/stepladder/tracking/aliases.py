"""Which version an alias names, and why: each change is a tag of the registered model, so that its history goes where it goes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from stepladder.errors import UserError
from stepladder.tracking import runs, store

CHAMPION, CHALLENGER = "champion", "challenger"
TAG = "alias."  # alias.TIME: a change, as JSON
ROLLED_BACK = "rolled_back"  # of a version: why it is champion no more
LONGEST_REASON = 1000  # characters; MLflow's limit for a tag is 5000 bytes


@dataclass(frozen=True)
class Change:
    """An alias that came to name another version.

    Attributes:
        when: ISO 8601, UTC.
        who: the user whose process did it.
        how: register, promote, force or rollback.
        before, after: versions; ``before`` is empty where the alias is new.
        why: a sentence.
    """

    when: str
    who: str
    how: str
    alias: str
    before: str
    after: str
    why: str

    def __str__(self) -> str:
        origin = f"from version {self.before} " if self.before else ""
        return f"{self.when}  @{self.alias} {origin}to version {self.after} by {self.who} ({self.how}): {self.why}"


def move(client: Any, name: str, alias: str, version: str, *, how: str, why: str) -> Change | None:
    """Make ``alias`` name ``version`` and record it; ``None`` where it names it already."""
    before = str(client.get_registered_model(name).aliases.get(alias, ""))
    if before == version:
        return None
    when = datetime.now(UTC)
    change = Change(when.isoformat(timespec="seconds"), runs.user(), how, alias, before, version, why[:LONGEST_REASON])
    client.set_registered_model_tag(name, f"{TAG}{when:%Y%m%dT%H%M%S.%f}", json.dumps(asdict(change)))
    client.set_registered_model_alias(name, alias, version)
    return change


@store.answering()
def history(name: str) -> list[Change]:
    """Every recorded change of an alias of the model ``name``, oldest first.

    Raises:
        UserError: the registry does not know the model, or the store does not answer.
    """
    return _changes(registered(store.registry(), name))


@store.answering()
def rollback(name: str, to: str = "", *, reason: str) -> Change:
    """Make ``@champion`` name version ``to`` again; "": the one before the present champion.

    The version left is tagged with the reason, and does not become champion again unless it is forced.

    Raises:
        UserError: there is no such version, none to go back to, or no reason.
    """
    if not reason.strip():
        raise UserError("A rollback needs a reason, which the history keeps; give --reason '...'.")
    client = store.registry()
    with store.lock("registry"):
        model = registered(client, name)
        present = str(model.aliases.get(CHAMPION, ""))
        if not present:
            raise UserError(f"{name} has no @champion to be rolled back; `stepladder promote` makes one.")
        versions = {str(version.version) for version in client.search_model_versions(f"name = '{name}'")}
        to = to.removeprefix("v") or _previous(_changes(model), present, versions)
        if not to:
            raise UserError(f"{name} has had no champion before version {present}; name one with --to VERSION.")
        if to not in versions:
            raise UserError(f"{name} has no version {to}; it has: {', '.join(sorted(versions, key=int))}.")
        change = move(client, name, CHAMPION, to, how="rollback", why=reason)
        if change is None:
            raise UserError(f"Version {to} of {name} is @champion already.")
        client.set_model_version_tag(name, present, ROLLED_BACK, reason[:LONGEST_REASON])
    return change


def registered(client: Any, name: str) -> Any:
    """MLflow's ``RegisteredModel``; raises ``UserError`` where the registry has none of that ``name``."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
    known = ", ".join(model.name for model in client.search_registered_models()) or "none"
    raise UserError(f"{name} is not in the registry; it has the models: {known}.")


def version(client: Any, uri: str) -> tuple[str, str]:
    """(name, version) that ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` names.

    Raises:
        UserError: it is no such thing, or the registry does not know it.
    """
    found = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))", uri)
    if not found:
        raise UserError(f"{uri} names no version of a model; give models:/NAME/VERSION or models:/NAME@ALIAS.")
    name, number, alias = found.groups()
    model = registered(client, name)
    versions = sorted((str(v.version) for v in client.search_model_versions(f"name = '{name}'")), key=int)
    number = number or str(model.aliases.get(alias.lower(), ""))
    if number not in versions:
        known = ", ".join([*versions, *(f"@{alias}" for alias in sorted(model.aliases))])
        raise UserError(f"{uri} is not in the registry; of {name} it has: {known}.")
    return name, number


def _changes(model: Any) -> list[Change]:
    return [Change(**json.loads(text)) for tag, text in sorted(model.tags.items()) if tag.startswith(TAG)]


def _previous(changes: list[Change], present: str, versions: set[str]) -> str:
    """The champion before ``present`` that still exists: what was rolled back counts as if it had never been."""
    reigns: list[str] = []
    for change in changes:
        if change.alias != CHAMPION:
            continue
        if change.before and not reigns:
            reigns.append(change.before)
        if change.how == "rollback" and change.after in reigns:
            reigns = reigns[: reigns.index(change.after) + 1]
        else:
            reigns.append(change.after)
    if present in reigns:
        reigns = reigns[: len(reigns) - 1 - reigns[::-1].index(present)]
    return next((version for version in reversed(reigns) if version in versions and version != present), "")
