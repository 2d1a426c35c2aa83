"""The form of a flow: what the Prefect page shows, and the parameters that the filled-in form means.

Every field's help, choices and bounds are those of ``stepladder.params``; what a field shows at first is the value in
``params.yaml``. A field left as shown takes the chosen preset's value, so a preset and a few changes go together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from stepladder import params as spec
from stepladder.errors import UserError
from stepladder.params import Params, Sweep

WORKSPACE = str(spec.PARAMS_FILE)
BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}
PLACES = {"timesteps": "sweep", "sampling_steps": "sweep"}
"""Fields that are leaves of a section; all others are sections, or leaves of the tree itself."""
HELP = {
    "preset": f"where the values come from: {WORKSPACE}, or a named set; a field left as shown takes the preset's value",
    "models": "which models, by the names of their stages in dvc.yaml; for diffusion one at each of timesteps",
    "model": "a registered one: models:/NAME/VERSION or models:/NAME@ALIAS",
    "force": "promote whatever the gate says; needs a reason",
    "reason": "kept in the model's history",
    "evaluate": "judge it again also where it is bit-identical",
    "source": "a .txt file (a sentence a line), a .csv file (a column label, or text), or a folder of such, from the project's folder",
    "out": "file or folder that is made, from the project's folder",
    "steps": "of a diffusion model: sampling steps S; 0: the model's own",
    "beam_size": "of a translation model: hypotheses kept; 0: the model's own",
    "chunk": "rows answered, and kept, at once; at least 1",
    "experiment": "name of a DVC experiment (`dvc exp list`), such as an earlier flow run's; empty: the workspace",
}
F = TypeVar("F", bound=Callable[..., Any])


def _shown() -> Params:
    try:
        return spec.load()
    except UserError:
        return Params()


SHOWN = _shown()


def _with_bounds(schema: dict[str, Any]) -> str:
    """The help in a field's JSON schema, its bounds added: Prefect's form checks bounds but does not show them."""
    said: list[str] = []
    for words, part in (("", schema), ("each ", schema.get("items", {}))):
        bounds = [f"{name} {part[key]}" for key, name in BOUNDS.items() if key in part]
        said += [words + " and ".join(bounds)] if bounds else []
    help_ = schema.get("description", "")
    return "; ".join([help_] * bool(help_) + [text for text in said if text not in help_])


class _ShowBounds:
    """Adds their bounds to the help of all fields of a section, those of the sections in it included."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        waiting = [handler.resolve_ref_schema(schema)]
        while waiting:
            for field in waiting.pop().get("properties", {}).values():
                if "$ref" in field:
                    waiting.append(handler.resolve_ref_schema(field))
                elif text := _with_bounds(field):
                    field["description"] = text
        return schema


def declared(verb: str) -> list[str]:
    """What ``dvc.yaml`` says can be trained, or evaluated: ``diffusion`` of the stages ``train-diffusion``."""
    try:
        stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return []
    return [stage.removeprefix(f"{verb}-") for stage in stages if stage.startswith(f"{verb}-")]


def _registered(alias: str) -> str:
    """The diffusion model of the workspace's pictures."""
    return f"models:/diffusion-{Path(SHOWN.images.source).name.lower()}@{alias}"


CHAMPION, CHALLENGER = _registered("champion"), _registered("challenger")

if TYPE_CHECKING:
    Preset = str
    Registered = str
    Trained = str
    Evaluated = str
    Experiment = str
    Count = int
    Rows = int
    Seed = int
    Steps = tuple[int, ...]
    from stepladder.params import (
        Decoding,
        Diffusion,
        Evaluation,
        FeatureNet,
        ImageData,
        Promotion,
        Sampling,
        TextData,
        Transformer,
    )
else:

    def _field(section: type[BaseModel], name: str) -> Any:
        return Annotated[section.model_fields[name].annotation, *section.model_fields[name].metadata]

    def _choice(among: list[str]) -> Any:
        return Annotated[str, Field(json_schema_extra={"enum": among})]

    Preset = _choice([WORKSPACE, *spec.presets()])
    Trained, Evaluated = _choice(declared("train")), _choice(declared("evaluate"))
    Experiment = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$")]
    Registered = Annotated[str, Field(pattern=r"^models:/[^/@]+(/[0-9]+|@[^/@]+)$")]
    Count, Rows = (Annotated[int, Field(ge=least, le=100_000)] for least in (0, 1))
    Seed = _field(Params, "seed")
    Steps = _field(Sweep, "timesteps")

    def _section(name: str) -> Any:
        return Annotated[Params.model_fields[name].annotation, _ShowBounds()]

    ImageData, TextData, FeatureNet = _section("images"), _section("text"), _section("feature_net")
    Diffusion, Sampling, Evaluation = _section("diffusion"), _section("sampling"), _section("evaluation")
    Transformer, Decoding = _section("transformer"), _section("decoding")
    Promotion = _section("promotion")


def _help() -> dict[str, str]:
    texts = dict(HELP)
    for section in (Params, Sweep):
        texts |= {name: _with_bounds(schema) for name, schema in section.model_json_schema()["properties"].items()}
    return texts | {
        name: inspect.getdoc(type(section)) or "" for name, section in SHOWN if isinstance(section, BaseModel)
    }


def described(function: F) -> F:
    """Add the spec's help to the docstring of ``function``, from which Prefect takes the help of a form's fields."""
    texts = _help()
    lines = [f"    {name}: {texts[name]}" for name in inspect.signature(function).parameters]
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
    return function


def read(preset: str, fields: dict[str, Any]) -> Params:
    """The parameters meant by a form: ``preset`` with those of ``fields`` that were changed from what the form showed.

    Raises ``UserError`` for what no run can have.
    """
    base = spec.load(preset="" if preset == WORKSPACE else preset)
    given: dict[str, Any] = {}
    for name, value in fields.items():
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        given = spec.merge(given, {PLACES[name]: {name: plain}} if name in PLACES else {name: plain})
    return spec.build(spec.merge(base.model_dump(), _changed(given, SHOWN.model_dump())), "the form")


def _changed(given: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, dict):
            changes[key] = _changed(value, shown[key])
        elif value != shown[key]:
            changes[key] = value
    return changes
