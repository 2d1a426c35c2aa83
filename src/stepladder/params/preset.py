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
    written = {} if may_be_absent and not path.exists() else values_of(path)
    preset_given = preset_values(preset) if preset else {}
    given = given or {}
    params = build(merge(lay(preset_given, written), given), f"preset {preset} on {path}" if preset else str(path))
    set_keys = {key for key, _ in _leaves(merge(preset_given, given))}
    return Resolved(params, _differences(written, params, set_keys))


def differences(params: Params, path: Path = PARAMS_FILE) -> list[Change]:
    """What sets ``params`` apart from those in the file."""
    return _differences(values_of(path), params, {key for key, _ in _leaves(params.model_dump(mode="json"))})


def _differences(written: Values, params: Params, set_keys: set[str]) -> list[Change]:
    before, after = (dict(_leaves(values)) for values in (merge(_defaults(), written), params.model_dump(mode="json")))
    return [
        Change(key, before.get(key), value, key not in set_keys)
        for key, value in after.items()
        if before.get(key) != value
    ]


def lay(preset: Values, base: Values) -> Values:
    """``base`` in which all that ``preset`` is about is the preset's; neither is altered."""
    return _lay(preset, base, _defaults(), root=True)


def about(preset: Values) -> list[str]:
    """The sections, dotted, that ``preset`` is about."""
    return list(_about(preset, _defaults(), ""))


def _lay(change: Values, base: Values, defaults: Values, root: bool = False) -> Values:
    if not root and _is_about(change, defaults):
        return merge(defaults, change)
    result = dict(base)
    for key, value in change.items():
        default, current = defaults.get(key), base.get(key, {})
        if isinstance(value, dict) and isinstance(default, dict) and isinstance(current, dict):
            result[key] = _lay(value, current, default)
        else:
            result[key] = value
    return result


def _is_about(change: Values, defaults: Values) -> bool:
    return not change or any(not isinstance(defaults.get(key), dict) for key in change)


def _about(change: Values, defaults: Values, prefix: str) -> Iterator[str]:
    for key, value in change.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            if _is_about(value, default):
                yield prefix + key
            else:
                yield from _about(value, default, f"{prefix}{key}.")


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
