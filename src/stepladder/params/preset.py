"""Applies a preset to the workspace's parameters: the sections that it is about become the preset's, the others stay.

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
    """One parameter's value before and after; ``reset``: set back to its default without being named."""

    key: str
    before: Value
    after: Value
    reset: bool

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.before)} -> {_short(self.after)}{' (reset to the default)' if self.reset else ''}"


@dataclass(frozen=True)
class Resolved:
    """The parameters that are to run, and how they differ from those in the file."""

    params: Params
    changes: list[Change]


def resolve(
    preset: str = "", overrides: Values | None = None, *, path: Path = PARAMS_FILE, may_be_absent: bool = False
) -> Resolved:
    """The file's parameters with ``preset`` applied, where one is named, and then the plain values ``overrides``.

    ``may_be_absent``: without the file the defaults are used. Raises ``UserError`` for parameters that no run can have.
    """
    written = {} if may_be_absent and not path.exists() else values_of(path)
    from_preset = preset_values(preset) if preset else {}
    overrides = overrides or {}
    params = build(
        merge(overlay(from_preset, written), overrides), f"preset {preset} on {path}" if preset else str(path)
    )
    set_keys = {key for key, _ in _leaves(merge(from_preset, overrides))}
    return Resolved(params, _differences(written, params, set_keys))


def differences(params: Params, path: Path = PARAMS_FILE) -> list[Change]:
    """How ``params`` differ from those in the file."""
    return _differences(values_of(path), params, {key for key, _ in _leaves(params.model_dump(mode="json"))})


def _differences(written: Values, params: Params, set_keys: set[str]) -> list[Change]:
    before, after = (dict(_leaves(values)) for values in (merge(_defaults(), written), params.model_dump(mode="json")))
    return [
        Change(key, before.get(key), value, key not in set_keys)
        for key, value in after.items()
        if before.get(key) != value
    ]


def overlay(preset: Values, base: Values) -> Values:
    """``base`` with the sections that ``preset`` is about replaced by the preset's; neither is altered."""
    return _lay(preset, base, _defaults(), root=True)


def sections_of(preset: Values) -> list[str]:
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
