"""Reads specs from files, presets and the command line, and writes them back with their help as comments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stepladder import installed
from stepladder.errors import UserError
from stepladder.params.section import Section
from stepladder.params.tree import Params
from stepladder.values import Value, Values

PARAMS_FILE = Path("params.yaml")
PRESETS_FOLDER = Path("presets")

S = TypeVar("S", bound=Section)


def build(values: Mapping[str, Value], origin: str = "the parameters") -> Params:
    """The parameters from plain ``values`` and defaults; ``UserError`` names the key, the value and what is allowed."""
    return section(Params, merge(Params().model_dump(mode="json"), values), origin)


def section(kind: type[S], values: Mapping[str, object], origin: str) -> S:
    """One section from plain ``values``; raises ``UserError`` like ``build``."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{origin}: " + "; ".join(_sentence(e) for e in error.errors()) + ".") from None


def load(path: Path | str = PARAMS_FILE, *, preset: str = "", overrides: list[str] | tuple[str, ...] = ()) -> Params:
    """The parameters in ``path``, or of a ``preset`` on the defaults, changed by ``overrides`` (see ``override``)."""
    if preset:
        values, origin = preset_values(preset), f"preset {preset}"
    else:
        values, origin = values_of(Path(path)), str(path)
    return build(merge(values, parse_overrides(overrides)), origin)


def presets() -> list[str]:
    """Names of the presets, sorted."""
    return sorted(p.stem for p in _presets_folder().glob("*.yaml"))


def merge(base: Mapping[str, Value], change: Mapping[str, Value]) -> Values:
    """``base`` with the leaves of ``change`` in place of its own; neither is altered."""
    merged = dict(base)
    for key, value in change.items():
        current = merged.get(key)
        merged[key] = merge(current, value) if isinstance(value, dict) and isinstance(current, dict) else value
    return merged


def flatten(params: BaseModel, prefix: str = "") -> Values:
    """Leaves by dotted key: ``{"diffusion.unet.channels": 32, ...}``."""
    leaves: Values = {}
    for key in type(params).model_fields:
        value = getattr(params, key)
        if isinstance(value, BaseModel):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = list(value) if isinstance(value, tuple) else value
    return leaves


def render(params: BaseModel, indent: int = 0) -> str:
    """YAML of the full tree, each key with its help and choices as a comment."""
    pad = "  " * indent
    lines = (
        [] if indent else ["# What runs: every key with its help. `stepladder params` checks it; presets/ has others."]
    )
    for key, field in type(params).model_fields.items():
        value = getattr(params, key)
        if isinstance(value, BaseModel):
            help_ = (type(value).__doc__ or "").strip()
            lines += ["", f"{pad}# {help_}"] if indent == 0 else [f"{pad}# {help_}"]
            lines += [f"{pad}{key}:", render(value, indent + 1).rstrip("\n")]
            continue
        choices = [str(c) for c in get_args(field.annotation)] if "Literal" in str(field.annotation) else []
        note = (field.description or "") + (f" ({' | '.join(choices)})" if choices else "")
        value_text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        lines.append(f"{pad}{key}: {value_text}  # {note}")
    return "\n".join(lines) + "\n"


def values_of(path: Path) -> Values:
    """The unchecked values in the file at ``path``; ``UserError`` where it is not YAML with sections."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run in a project's folder, or make one: `stepladder new FOLDER`."
        ) from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, not sections of keys and values.")
    return values


def preset_values(name: str) -> Values:
    """Only the values that the preset ``name`` sets; ``UserError`` where there is no such preset."""
    path = _presets_folder() / f"{name}.yaml"
    if not path.exists():
        raise UserError(f"There is no preset {name!r}; there are: {', '.join(presets()) or 'none'}.")
    return values_of(path)


def _presets_folder() -> Path:
    """The folder of the project; without a project, that of the package."""
    return (
        PRESETS_FOLDER
        if PRESETS_FOLDER.is_dir() or Path("dvc.yaml").exists()
        else installed.template() / PRESETS_FOLDER
    )


def override(text: str) -> Values:
    """``"sweep.timesteps=[10, 100]"`` as ``{"sweep": {"timesteps": [10, 100]}}``; ``UserError`` for other forms."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{text!r} is not KEY=VALUE, such as sweep.timesteps=[10,100].")
    try:
        nested: Value = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"{value!r}, given for {key}, is not a YAML value.") from None
    first, *inner = key.split(".")
    for part in reversed(inner):
        nested = {part: nested}
    return {first: nested}


def parse_overrides(overrides: list[str] | tuple[str, ...]) -> Values:
    """The values of all ``overrides``; later ones replace earlier ones."""
    values: Values = {}
    for text in overrides:
        values = merge(values, override(text))
    return values


def _sentence(error: ErrorDetails) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path} is not a parameter{_nearest(path)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    value = error["input"]
    given_text = f" (given: {value!r})" if not isinstance(value, dict) else ""
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}{given_text}"


def _nearest(path: str) -> str:
    import difflib

    keys = list(flatten(Params())) + list(Params.model_fields)
    close = difflib.get_close_matches(path, keys, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else "; `stepladder params` lists them all"
