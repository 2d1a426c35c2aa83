"""Which version an alias names, and why: each change is a tag of the registered model, and so its history stays with it.

A change is several writes. It is first recorded as ``PENDING``, so that the next call completes an interrupted change:
the history has each change once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from stepladder.errors import UserError
from stepladder.tracking import health, references, runs, store
from stepladder.tracking.references import CHALLENGER, CHAMPION

__all__ = ["CHALLENGER", "CHAMPION", "Change", "complete", "history", "move", "rollback"]

TAG = "alias."  # alias.TIME: a change, as JSON
PENDING = "begun"  # a change that is being made: its tag and itself, as JSON
ROLLED_BACK = "rolled_back"  # of a version: why it is no longer champion
VERDICT = "verdict"  # of a version: the last verdict of the gate, or the one that made it champion
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
    """Make ``alias`` name ``version`` and record it; ``None`` where it names it already.

    A new champion keeps ``why`` as its verdict and loses its tag ``ROLLED_BACK``; the version that a rollback leaves is.
    """
    complete(client, name)
    before = str(client.get_registered_model(name).aliases.get(alias, ""))
    if before == version:
        return None
    when = datetime.now(UTC)
    change = Change(when.isoformat(timespec="seconds"), runs.user(), how, alias, before, version, why[:LONGEST_REASON])
    tag = f"{TAG}{when:%Y%m%dT%H%M%S.%f}"
    client.set_registered_model_tag(name, PENDING, json.dumps({"tag": tag, "change": asdict(change)}))
    _carry_out(client, name, tag, change)
    return change


def complete(client: Any, name: str) -> Change | None:
    """Complete the interrupted change of the model ``name`` and return it; ``None`` where there is none.

    A change that is no longer possible, because its version is gone or the alias was moved meanwhile, is dropped.
    """
    model = client.get_registered_model(name)
    if not (text := model.tags.get(PENDING)):
        return None
    pending = json.loads(text)
    change = Change(**pending["change"])
    now = str(model.aliases.get(change.alias, ""))
    if change.after not in references.versions(client, name) or now not in (change.before, change.after):
        client.delete_registered_model_tag(name, PENDING)
        return None
    _carry_out(client, name, pending["tag"], change)
    return change


def _carry_out(client: Any, name: str, tag: str, change: Change) -> None:
    """Make all writes of ``change``; each may have been made before."""
    client.set_registered_model_alias(name, change.alias, change.after)
    client.set_registered_model_tag(name, tag, json.dumps(asdict(change)))
    if change.alias == CHAMPION and change.how == "rollback":
        if change.before in references.versions(client, name):
            client.set_model_version_tag(name, change.before, ROLLED_BACK, change.why)
    elif change.alias == CHAMPION:
        if ROLLED_BACK in client.get_model_version(name, change.after).tags:
            client.delete_model_version_tag(name, change.after, ROLLED_BACK)
        keep_verdict(client, name, change.after, change.why)
    client.delete_registered_model_tag(name, PENDING)


def keep_verdict(client: Any, name: str, version: str, why: str) -> None:
    """Store the verdict with its version: first on the registry's page, then in the tag, which marks it as complete."""
    client.update_model_version(name, version, why)
    client.set_model_version_tag(name, version, VERDICT, why)


@store.answering()
def history(name: str) -> list[Change]:
    """Every recorded change of an alias of the model ``name``, oldest first.

    Raises:
        UserError: the registry does not know the model, or the store does not answer.
    """
    return _changes(references.model(health.registry(), name))


@store.answering()
def rollback(name: str, to: str = "", *, reason: str) -> Change:
    """Make ``@champion`` name version ``to`` again; "": the one before the present champion.

    The version left is tagged with the reason, and does not become champion again unless it is forced. Where a rollback was cut
    short, asking again completes that one.

    Raises:
        UserError: there is no such version, none to go back to, or no reason.
    """
    if not reason.strip():
        raise UserError("A rollback needs a reason, which the history keeps; give --reason '...'.")
    client, to = health.registry(), to.removeprefix("v")
    name = references.name(client, name)
    with store.lock("registry"):
        pending = complete(client, name)
        if pending and pending.how == "rollback" and to in ("", pending.after):
            return pending
        model = client.get_registered_model(name)
        present = str(model.aliases.get(CHAMPION, ""))
        if not present:
            raise UserError(f"{name} has no @champion to be rolled back; `stepladder promote` makes one.")
        versions = references.versions(client, name)
        to = to or _previous(_changes(model), present, set(versions))
        if not to:
            raise UserError(f"{name} has had no champion before version {present}; name one with --to VERSION.")
        if to not in versions:
            raise UserError(f"{name} has no version {to}; it has: {', '.join(versions)}.")
        change = move(client, name, CHAMPION, to, how="rollback", why=reason)
        if change is None:
            raise UserError(f"Version {to} of {name} is @champion already.")
    return change


def _changes(model: Any) -> list[Change]:
    return [Change(**json.loads(text)) for tag, text in sorted(model.tags.items()) if tag.startswith(TAG)]


def _previous(changes: list[Change], present: str, versions: set[str]) -> str:
    """The champion before ``present`` that still exists; versions that were rolled back are ignored."""
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
