"""A preset laid over the workspace's parameters: what it is about becomes exactly its own, everything else stays.

A preset is about each section in which it sets a key, sections inside included, and about each that it names empty
(``sampling: {}``): such a section is then the preset's values, and the defaults where it sets none. A section that it only
passes through (``diffusion: {training: {steps: 60}}`` passes through ``diffusion``) keeps its other keys.

Sweeps and studies start from a preset alone, on the defaults (``reading.load``), whatever the workspace has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepladder.params.reading import PARAMS_FILE, build, merge, preset_values, values_of
from stepladder.params.tree import Params
from stepladder.values import Value, Values

SHOWN_WIDTH = 60


@dataclass(frozen=True)
class Change:
    """One parameter's value before and after; ``reset``: set back to its default, named by nobody."""

    key: str
    before: Value
    after: Value
    reset: bool

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.before)} -> {_short(self.after)}{' (reset to the default)' if self.reset else ''}"


@dataclass(frozen=True)
class Resolved:
    """The parameters that are to run, and what sets them apart from those in the file."""

    params: Params
    changes: list[Change]


def resolve(
    preset: str = "", given: Values | None = None, *, path: Path = PARAMS_FILE, may_be_absent: bool = False
) -> Resolved:
    """The file's parameters with ``preset`` laid over them, where one is named, and the plain values ``given`` on top.

    ``may_be_absent``: the defaults take the place of a file that is not there. Raises ``UserError`` for what no run can have.
    """
    there = {} if may_be_absent and not path.exists() else values_of(path)
    of_preset = preset_values(preset) if preset else {}
    given = given or {}
    params = build(merge(lay(of_preset, there), given), f"preset {preset} on {path}" if preset else str(path))
    named = {key for key, _ in _leaves(merge(of_preset, given))}
    return Resolved(params, _differences(there, params, named))


def differences(params: Params, path: Path = PARAMS_FILE) -> list[Change]:
    """What sets ``params`` apart from those in the file."""
    return _differences(values_of(path), params, {key for key, _ in _leaves(params.model_dump(mode="json"))})


def _differences(there: Values, params: Params, named: set[str]) -> list[Change]:
    before, after = (dict(_leaves(values)) for values in (merge(_defaults(), there), params.model_dump(mode="json")))
    return [
        Change(key, before.get(key), value, key not in named)
        for key, value in after.items()
        if before.get(key) != value
    ]


def lay(preset: Values, base: Values) -> Values:
    """``base`` in which all that ``preset`` is about is the preset's; neither is altered."""
    return _lay(preset, base, _defaults(), root=True)


def about(preset: Values) -> list[str]:
    """The sections, dotted, that ``preset`` is about."""
    return list(_about(preset, _defaults(), ""))


def _lay(given: Values, base: Values, defaults: Values, root: bool = False) -> Values:
    if not root and _is_about(given, defaults):
        return merge(defaults, given)
    laid = dict(base)
    for key, value in given.items():
        usual, there = defaults.get(key), base.get(key, {})
        if isinstance(value, dict) and isinstance(usual, dict) and isinstance(there, dict):
            laid[key] = _lay(value, there, usual)
        else:
            laid[key] = value
    return laid


def _is_about(given: Values, defaults: Values) -> bool:
    return not given or any(not isinstance(defaults.get(key), dict) for key in given)


def _about(given: Values, defaults: Values, prefix: str) -> Iterator[str]:
    for key, value in given.items():
        usual = defaults.get(key)
        if isinstance(value, dict) and isinstance(usual, dict):
            if _is_about(value, usual):
                yield prefix + key
            else:
                yield from _about(value, usual, f"{prefix}{key}.")


def _defaults() -> Values:
    return Params().model_dump(mode="json")


def _leaves(values: Values, prefix: str = "") -> Iterator[tuple[str, Value]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _short(value: Value) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_WIDTH else text[: SHOWN_WIDTH - 4] + " ..."
