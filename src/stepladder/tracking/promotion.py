"""The gate that a version must pass to become ``@champion``; a refusal lists all reasons.

The version, even the first, must not count as failed (``judgement.failure``). It must be better than the champion by more than the
interval, on the same held-out data, judged in the same way by the same figure. It must load and answer its input example in a fresh
process, with size and time within ``promotion.*``, and must not have been rolled back. A champion whose figures are of other held-out
data, or were measured in another way, is judged again on the present data.
"Better by more than the interval": the interval of the difference of the two figures excludes zero. That of a difference of two
estimates with intervals of their own is MOVER's (Zou and Donner 2008, Statistics in Medicine 27, equation 4; Newcombe 1998, method 10).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepladder.errors import UserError
from stepladder.params import Promotion
from stepladder.tracking import aliases, figures, health, references, store
from stepladder.tracking.figures import FIGURE, Tags, better, difference, text
from stepladder.tracking.rejudging import Judge, on_present

__all__ = ["Unfit", "Verdict", "apply_verdict", "better", "difference", "judge", "probe", "promote", "text"]

LONGEST_PROBE = 1800  # seconds
LONGEST_TAG = 4000  # characters
PICKLE_FREE = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}


class Unfit(Exception):
    """A version that cannot be used, and why, as a clause."""


@dataclass(frozen=True)
class Verdict:
    """The verdict of the gate on a version.

    Attributes:
        promoted: whether the verdict makes it ``@champion``.
        reasons: why it is refused, each a clause; empty where it passes.
        why: the verdict in a sentence, which is stored with the version.
    """

    name: str
    version: str
    promoted: bool
    reasons: tuple[str, ...]
    why: str


@store.answering()
def promote(
    reference: str, limits: Promotion, *, force: bool = False, reason: str = "", rejudge: Judge | None = None
) -> Verdict:
    """Make the version that ``reference`` names ``@champion`` if it passes the gate, or if it is forced with a reason.

    Args:
        reference: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or NAME, which means its ``@challenger``.
        force: promote against the gate's verdict; the history keeps ``reason`` and what was overridden.
        rejudge: judges versions again that have figures of other held-out data.

    Raises:
        UserError: there is no such version or store, or it is forced without a reason.
    """
    if force and not reason.strip():
        raise UserError("--force needs a reason, which the history keeps; give --reason '...'.")
    client = health.registry()
    with store.lock("registry"):
        name, number = references.version(client, reference, references.CHALLENGER)
        begun = aliases.complete(client, name)
        if begun and (begun.alias, begun.after) == (aliases.CHAMPION, number) and begun.how in ("promote", "force"):
            return Verdict(name, number, True, (), begun.why)
        name, number = references.version(client, reference, references.CHALLENGER)
        verdict, how = judge(client, name, number, limits, rejudge), "promote"
        if force and verdict.reasons:
            why = f"champion, forced: {reason.strip()} (although {'; '.join(verdict.reasons)})"
            verdict, how = replace(verdict, promoted=True, why=why), "force"
        elif verdict.promoted and reason.strip():
            verdict = replace(verdict, why=f"{verdict.why} ({reason.strip()})")
        apply_verdict(client, verdict, how)
    return verdict


def judge(client: Any, name: str, number: str, limits: Promotion, rejudge: Judge | None = None) -> Verdict:
    """The verdict of the gate; no alias is moved. The version gets the measured size and times as tags.

    Args:
        rejudge: judges both versions again where their figures cannot be compared; ``None``: that is a reason to refuse.
    """
    champion = str(references.model(client, name).aliases.get(aliases.CHAMPION, ""))
    ours: Tags = client.get_model_version(name, number).tags
    if champion == number:
        return Verdict(name, number, False, (), f"champion already: {text(ours)}")
    compared, reasons = text(ours), []
    if ours.get(FIGURE) and not math.isfinite(figures.figure(ours)[0]):
        reasons.append(f"its {ours[FIGURE]} is not a number")
    else:
        if champion:
            ours, compared, worse = _against_champion(client, name, number, champion, rejudge)
            reasons += [compared] * worse
        if why := figures.failed(ours, limits):
            reasons.append(f"it counts as failed ({why})")
    if back := ours.get(aliases.ROLLED_BACK):
        reasons.append(f"it was rolled back ({back})")
    reasons += _probe_objections(client, name, number, limits)
    if reasons:
        return Verdict(name, number, False, tuple(reasons), f"challenger: {'; '.join(reasons)}")
    return Verdict(name, number, True, (), f"champion{'' if champion else ', the first'}: {compared}")


def apply_verdict(client: Any, verdict: Verdict, how: str) -> None:
    """Carry out the verdict and store its sentence with the version; a champion keeps the one that made it champion."""
    if verdict.promoted:
        aliases.move(client, verdict.name, aliases.CHAMPION, verdict.version, how=how, why=verdict.why)
    elif verdict.reasons:
        aliases.keep_verdict(client, verdict.name, verdict.version, verdict.why[:LONGEST_TAG])


def _against_champion(
    client: Any, name: str, number: str, champion: str, rejudge: Judge | None
) -> tuple[Tags, str, bool]:
    """(the version's figures, how they compare with the champion's, in words, whether that is a reason to refuse)."""
    ours, theirs = (client.get_model_version(name, each).tags for each in (number, champion))
    if not (incomparable := _incomparable(ours, theirs, champion)):
        return ours, *_comparison(ours, theirs, champion, "on the same data")
    if not ours.get(FIGURE) or rejudge is None:
        return ours, incomparable, True
    try:
        now, then = (on_present(client, name, each, rejudge) for each in (number, champion))
    except UserError as error:
        return ours, f"{incomparable}, and cannot be judged again on the present data ({str(error).rstrip('.')})", True
    return now, *_comparison(now, then, champion, "judged again on the present held-out data")


def _incomparable(ours: Tags, theirs: Tags, champion: str) -> str:
    """Why the figures of the two cannot be compared as they are; empty where they can."""
    if not ours.get(FIGURE):
        return "it does not say by which figure it is judged (an older Stepladder registered it: run `stepladder register`)"
    known = [tag for tag in (figures.HELD_OUT, "data_hash") if tag in ours and tag in theirs]
    if not known or ours[known[0]] != theirs[known[0]]:
        return f"{text(ours)} was measured on other data than champion version {champion}'s"
    if theirs.get("judged") != ours.get("judged") or ours[FIGURE] not in theirs:
        return (
            f"{text(ours)} was judged in another way ({ours.get('judged')}) than champion version {champion} "
            f"({theirs.get('judged')})"
        )
    return ""


def _comparison(ours: Tags, theirs: Tags, champion: str, where: str) -> tuple[str, bool]:
    """(how the two compare, in words, whether that is a reason to refuse)."""
    value = text(theirs, ours[FIGURE]).removeprefix(f"{ours[FIGURE]} ")
    compared = f"{text(ours)} against {value} of version {champion} {where}"
    if better(ours, theirs):
        return compared, False
    return f"not better by more than the interval: {compared}", True


def _probe_objections(client: Any, name: str, number: str, limits: Promotion) -> list[str]:
    """Reasons to refuse the version from a trial in a fresh process; the measured size and times become its tags."""
    try:
        measured = probe(f"models:/{name}/{number}")
    except Unfit as error:
        return [str(error)]
    for tag in ("megabytes", "seconds_to_load", "seconds"):
        client.set_model_version_tag(name, number, tag, f"{measured[tag]:.4g}")
    size, seconds = measured["megabytes"], measured["seconds"]
    too_large = f"its files have {size:.4g} MB, more than promotion.megabytes={limits.megabytes:g}"
    too_slow = f"answering its {measured['rows']} examples takes {seconds:.4g} s, more than promotion.seconds={limits.seconds:g}"
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
