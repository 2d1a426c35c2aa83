"""The form of a flow: what the Prefect page shows, and the parameters that the filled-in form means.

Every field's help, choices and bounds are those of ``stepladder.params``; what a field shows at first is the value in
``params.yaml``. A field left as shown takes the chosen preset's value, so a preset and a few changes go together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from stepladder import params as spec
from stepladder.errors import UserError
from stepladder.params import Params, Sweep

WORKSPACE = str(spec.PARAMS_FILE)
F = TypeVar("F", bound=Callable[..., Any])


def _shown() -> Params:
    try:
        return spec.load()
    except UserError:
        return Params()


SHOWN = _shown()

if TYPE_CHECKING:
    Preset = str
    Seed = int
    Steps = tuple[int, ...]
else:

    def _field(section: type[BaseModel], name: str) -> Any:
        return Annotated[section.model_fields[name].annotation, *section.model_fields[name].metadata]

    Preset = Annotated[str, Field(json_schema_extra={"enum": [WORKSPACE, *spec.presets()]})]
    Seed = _field(Params, "seed")
    Steps = _field(Sweep, "timesteps")

HELP = {
    "preset": f"where the values come from: {WORKSPACE}, or a named set; a field left as shown takes the preset's value",
    "seed": Params.model_fields["seed"].description,
    **{name: field.description for name, field in Sweep.model_fields.items()},
    **{name: inspect.getdoc(type(section)) for name, section in SHOWN if isinstance(section, BaseModel)},
}


def described(function: F) -> F:
    """Add the spec's help to the docstring of ``function``, from which Prefect takes the help of a form's fields."""
    lines = [f"    {name}: {HELP[name]}" for name in inspect.signature(function).parameters]
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
    return function


def read(preset: str, values: dict[str, Any]) -> Params:
    """The parameters meant by a form: ``preset`` with those of ``values`` that were changed from what the form showed.

    ``values`` are sections and leaves, as in ``params.yaml``. Raises ``UserError`` for what no run can have.
    """
    base = spec.load(preset="" if preset == WORKSPACE else preset)
    given = {key: value.model_dump() if isinstance(value, BaseModel) else value for key, value in values.items()}
    return spec.build(spec.merge(base.model_dump(), _changed(given, SHOWN.model_dump())), "the form")


def _changed(given: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, dict):
            changes[key] = _changed(value, shown[key])
        elif value != shown[key]:
            changes[key] = value
    return changes
