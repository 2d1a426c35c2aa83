"""The gate that a version passes to become ``@champion``; a refused one is told everything that stands in its way.

It is better than the champion by more than the interval, on the same data, judged in the same way by the same figure; it loads in
a fresh process and answers its input example there; its size and its time are within ``promotion.*``; and nobody has rolled it back.
"Better by more than the interval": the interval of the difference of the two figures excludes zero. That of a difference of two
estimates with intervals of their own is MOVER's (Zou and Donner 2008, Statistics in Medicine 27, equation 4; Newcombe 1998, method 10).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepladder.errors import UserError
from stepladder.params import Promotion
from stepladder.tracking import aliases, store

FIGURE, SMALLER = "figure", "smaller_is_better"  # tags of a version: which of its figures counts, and how
LONGEST_PROBE = 1800  # seconds
LONGEST_TAG = 4000  # characters
PICKLE_FREE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
Tags = Mapping[str, str]
Figure = tuple[float, float, float]  # value, low, high


class Unfit(Exception):
    """A version that cannot be used, and why, as a clause."""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a version.

    Attributes:
        promoted: whether it is ``@champion`` now because of it.
        reasons: all that stands in its way, each a clause; empty: nothing.
        why: the verdict in a sentence, which its version keeps.
    """

    name: str
    version: str
    promoted: bool
    reasons: tuple[str, ...]
    why: str


@store.answering()
def promote(uri: str, limits: Promotion, *, force: bool = False, reason: str = "") -> Verdict:
    """Make the version that ``uri`` names ``@champion`` if it passes the gate, or if it is forced, for a reason.

    Args:
        uri: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.
        force: whatever the gate says; the history keeps ``reason`` and what was overridden.

    Raises:
        UserError: there is no such version or store, or it is forced without a reason.
    """
    if force and not reason.strip():
        raise UserError("--force needs a reason, which the history keeps; give --reason '...'.")
    client = store.registry()
    name, number = aliases.version(client, uri)
    with store.lock("registry"):
        verdict, how = judge(client, name, number, limits), "promote"
        if force and verdict.reasons:
            why = f"champion, forced: {reason.strip()} (although {'; '.join(verdict.reasons)})"
            verdict, how = replace(verdict, promoted=True, why=why), "force"
        elif verdict.promoted and reason.strip():
            verdict = replace(verdict, why=f"{verdict.why} ({reason.strip()})")
        settle(client, verdict, how)
    return verdict


def judge(client: Any, name: str, number: str, limits: Promotion) -> Verdict:
    """What the gate says; no alias is moved. Its version gets the measured size and times as tags."""
    holder = str(aliases.registered(client, name).aliases.get(aliases.CHAMPION, ""))
    ours = client.get_model_version(name, number).tags
    figure = shown(ours)
    if holder == number:
        return Verdict(name, number, False, (), f"champion already: {figure}")
    compared, reasons = figure, []
    if ours.get(FIGURE) and not math.isfinite(_figure(ours)[0]):
        reasons.append(f"its {ours[FIGURE]} is not a number")
    elif holder:
        compared, worse = _compared(ours, client.get_model_version(name, holder).tags, holder)
        reasons += [compared] * worse
    if back := ours.get(aliases.ROLLED_BACK):
        reasons.append(f"it was rolled back ({back})")
    reasons += _measured(client, name, number, limits)
    if reasons:
        return Verdict(name, number, False, tuple(reasons), f"challenger: {'; '.join(reasons)}")
    return Verdict(name, number, True, (), f"champion{'' if holder else ', the first'}: {compared}")


def settle(client: Any, verdict: Verdict, how: str) -> None:
    """Do as the verdict says, and keep its sentence with its version; a champion keeps the one that made it champion."""
    name, number = verdict.name, verdict.version
    if verdict.promoted:
        aliases.move(client, name, aliases.CHAMPION, number, how=how, why=verdict.why)
        if aliases.ROLLED_BACK in client.get_model_version(name, number).tags:
            client.delete_model_version_tag(name, number, aliases.ROLLED_BACK)
    if verdict.promoted or verdict.reasons:
        client.set_model_version_tag(name, number, "verdict", verdict.why[:LONGEST_TAG])
        client.update_model_version(name, number, verdict.why[:LONGEST_TAG])


def better(ours: Tags, theirs: Tags) -> bool:
    """Whether the interval of the difference of the two figures is on the good side of zero."""
    low, high = difference(_figure(ours), _figure(theirs))
    return high < 0 if ours.get(SMALLER) == "true" else low > 0


def difference(ours: Figure, theirs: Figure) -> tuple[float, float]:
    """The interval of ``ours`` minus ``theirs``, each (value, low, high) and independent of the other (MOVER)."""
    (a, a_low, a_high), (b, b_low, b_high) = ours, theirs
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def _compared(ours: Tags, theirs: Tags, holder: str) -> tuple[str, bool]:
    """How the two compare, in words, and whether that stands in the way."""
    if not ours.get(FIGURE):
        return (
            "it does not say by which figure it is judged (an older Stepladder registered it: run `stepladder register`)"
        ), True
    if theirs.get("data_hash") != ours.get("data_hash"):
        return f"{shown(ours)} was measured on other data than champion version {holder}'s", True
    if theirs.get("judged") != ours.get("judged") or ours[FIGURE] not in theirs:
        return (
            f"{shown(ours)} was judged in another way ({ours.get('judged')}) than champion version {holder} "
            f"({theirs.get('judged')})"
        ), True
    value = shown(theirs, ours[FIGURE]).removeprefix(f"{ours[FIGURE]} ")
    compared = f"{shown(ours)} against {value} of version {holder} on the same data"
    return (compared, False) if better(ours, theirs) else (f"not better by more than the interval: {compared}", True)


def _measured(client: Any, name: str, number: str, limits: Promotion) -> list[str]:
    """What a fresh process finds wrong with the version."""
    try:
        found = probe(f"models:/{name}/{number}")
    except Unfit as error:
        return [str(error)]
    for tag in ("megabytes", "seconds_to_load", "seconds"):
        client.set_model_version_tag(name, number, tag, f"{found[tag]:.4g}")
    size, seconds = found["megabytes"], found["seconds"]
    too_large = f"its files have {size:.4g} MB, more than promotion.megabytes={limits.megabytes:g}"
    too_slow = (
        f"answering its {found['rows']} examples takes {seconds:.4g} s, more than promotion.seconds={limits.seconds:g}"
    )
    return [too_large] * (size > limits.megabytes) + [too_slow] * (seconds > limits.seconds)


def probe(uri: str) -> dict[str, float]:
    """``probe.py``'s figures of the model that ``uri`` names; raises ``Unfit`` where it does not load or answer."""
    command = [sys.executable, "-I", "-B", "-W", "ignore", str(Path(__file__).with_name("probe.py")), uri]
    where = {"MLFLOW_TRACKING_URI": store.uri(), "MLFLOW_REGISTRY_URI": store.uri()}  # it may hold a password
    try:
        done = subprocess.run(
            command,
            env=os.environ | store.QUIET | PICKLE_FREE | where,
            capture_output=True,
            text=True,
            timeout=LONGEST_PROBE,
        )
    except subprocess.TimeoutExpired:
        raise Unfit(f"it does not answer its input example in a fresh process within {LONGEST_PROBE} seconds") from None
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["it ended without a word"]
        raise Unfit(f"it does not load and answer its input example in a fresh process ({last[0].strip()[:300]})")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _figure(tags: Tags, name: str = "") -> Figure:
    """The figure that a version is judged by, or the one of that ``name``; without an interval it is as wide as nothing."""
    name = name or tags[FIGURE]
    value = float(tags[name])
    return value, float(tags.get(f"{name}_low", value)), float(tags.get(f"{name}_high", value))


def shown(tags: Tags, name: str = "") -> str:
    """The figure that a version is judged by, or the one of that ``name``, with its interval."""
    name = name or tags.get(FIGURE, "")
    if not name or name not in tags:
        return "no figure"
    value, low, high = _figure(tags, name)
    return f"{name} {value:.4g}" + (f" ({low:.4g} to {high:.4g})" if low < high else "")
