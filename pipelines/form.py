"""The form of a flow: its fields on the Prefect page, and the parameters that a filled-in form means.

Every field is empty at first, which means the value of the chosen preset, laid over the workspace's ``params.yaml``. A typed
value counts even if it equals a default. A field's help, choices and bounds come from ``stepladder.params``; the help also has
the value in ``params.yaml`` when the form was made.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, TypeAlias, TypeVar, get_args

import yaml
from pydantic import MISSING, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, create_model

from stepladder import params as spec
from stepladder import plugins
from stepladder.errors import UserError
from stepladder.params import Params, Sweep
from stepladder.tracking.references import registered_name

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
    "preset": f"a named set, laid over {WORKSPACE}, or {WORKSPACE} itself; a field left empty takes its value from there. In "
    f"brackets: what {WORKSPACE} had when this form was made",
    "models": "which models, by the names of their stages in dvc.yaml; for diffusion one at each of timesteps",
    "model": "a registered one: models:/NAME/VERSION or models:/NAME@ALIAS",
}
"""Of fields that several flows have; a flow's own field is explained in its docstring."""
EMPTY: Any = MISSING
"""The default of an empty field: it leaves the form's schema without a default; ``None`` would be sent as null and refused."""
F = TypeVar("F", bound=Callable[..., Any])


def _workspace_params() -> Params:
    try:
        return spec.load()
    except UserError:
        return Params()


SHOWN = _workspace_params()


def _with_bounds(schema: dict[str, Any]) -> str:
    """The help in a field's JSON schema, with its bounds, which Prefect's form checks but does not show."""
    texts: list[str] = []
    for words, part in (("", schema), ("each ", schema.get("items", {}))):
        bounds = [f"{name} {part[key]}" for key, name in BOUNDS.items() if key in part]
        texts += [words + " and ".join(bounds)] if bounds else []
    help_ = schema.get("description", "")
    return "; ".join([help_] * bool(help_) + [text for text in texts if text not in help_])


class _MayBeEmpty:
    """Gives an optional field the form's schema of its type, without a choice between a value and null."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        while core["type"] != "nullable":
            core = core["schema"]
        return handler(core["schema"])


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
    if schema.get("type") == "boolean":  # a choice: a switch that is off could not mean "as in the preset"
        schema |= {"type": "string", "enum": ["true", "false"]}


def _may_be_empty(kind: Any) -> Any:
    none = BeforeValidator(lambda value: None if value is EMPTY else value)
    return Annotated[Optional[kind], _MayBeEmpty(), none]  # noqa: UP045  # Annotated has no | at run time


def _section(section: BaseModel, name: str) -> type[BaseModel]:
    """A model named ``name`` with the fields of ``section``, each empty at first."""
    properties = type(section).model_json_schema()["properties"]
    fields: dict[str, Any] = {}
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            kind: Any = _section(value, name + key.title().replace("_", ""))
            help_ = inspect.getdoc(type(value))
        else:
            metadata = [plugins.AcceptsCustomCode() if isinstance(one, plugins.Kind) else one for one in field.metadata]
            kind = field.annotation
            if plugins.is_custom(value) and (choices := get_args(kind)):
                kind = Literal[(*choices, value)]
            kind = Annotated[kind, *metadata] if metadata else kind
            help_ = _with_value(properties[key], value)
        empty = Field(default=None, description=help_, json_schema_extra=_without_default)
        fields[key] = (_may_be_empty(kind), empty)
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=inspect.getdoc(type(section)), **fields)


def _with_value(schema: dict[str, Any], value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"{_with_bounds(schema)} ({WORKSPACE}: {text})"


def declared(verb: str) -> list[str]:
    """The models that ``dvc.yaml`` has stages for: ``diffusion`` for the stages ``train-diffusion``."""
    try:
        stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return []
    return [stage.removeprefix(f"{verb}-") for stage in stages if stage.startswith(f"{verb}-")]


def _registered(alias: str) -> str:
    """The reference of the diffusion model for the workspace's pictures."""
    name = SHOWN.images.name or Path(SHOWN.images.source).name
    return f"models:/{registered_name('diffusion', name)}@{alias}"


CHAMPION, CHALLENGER = _registered("champion"), _registered("challenger")

if TYPE_CHECKING:
    Preset = str
    Registered = str
    Trained = str
    Evaluated = str
    Experiment = str
    Count = int
    Rows = int
    PlainSeed = int
    Seed: TypeAlias = int | None
    Steps: TypeAlias = tuple[int, ...] | None
    ImageData: TypeAlias = BaseModel | None
    TextData: TypeAlias = BaseModel | None
    FeatureNet: TypeAlias = BaseModel | None
    NoisyClassifier: TypeAlias = BaseModel | None
    Diffusion: TypeAlias = BaseModel | None
    Sampling: TypeAlias = BaseModel | None
    Transformer: TypeAlias = BaseModel | None
    Decoding: TypeAlias = BaseModel | None
    Evaluation: TypeAlias = BaseModel | None
    Promotion: TypeAlias = BaseModel | None
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
    PlainSeed = _field(Params, "seed")
    Seed, Steps = _may_be_empty(PlainSeed), _may_be_empty(_field(Sweep, "timesteps"))
    ImageData, TextData, FeatureNet, NoisyClassifier, Diffusion, Sampling, Transformer, Decoding, Evaluation, Promotion = (
        _may_be_empty(_section(getattr(SHOWN, name), name.title().replace("_", "")))
        for name in (
            "images", "text", "feature_net", "noisy_classifier", "diffusion", "sampling", "transformer", "decoding", "evaluation", "promotion"
        )
    )  # fmt: skip


def _help() -> dict[str, str]:
    texts = dict(HELP)
    for section in (SHOWN, SHOWN.sweep):
        for name, schema in type(section).model_json_schema()["properties"].items():
            value = getattr(section, name)
            is_section = isinstance(value, BaseModel)
            texts[name] = (inspect.getdoc(type(value)) or "") if is_section else _with_value(schema, value)
    return texts


def described(function: F) -> F:
    """Add the spec's help to the docstring of ``function``, from which Prefect takes the help of a form's fields."""
    doc, texts = inspect.getdoc(function) or "", _help()
    with_args = doc if "\nArgs:\n" in doc else f"{doc}\n\nArgs:"
    rest = [name for name in inspect.signature(function).parameters if f"\n    {name}: " not in with_args]
    function.__doc__ = "\n".join([with_args, *(f"    {name}: {texts[name]}" for name in rest)])
    return function


def read(preset: str, fields: dict[str, Any]) -> Params:
    """The parameters of a filled-in form: the workspace's, with ``preset`` and then the values of ``fields`` laid over them.

    Raises ``UserError`` for invalid values, and where a field names code that neither the file nor the preset names.
    """
    typed: dict[str, Any] = {}
    for name, value in fields.items():
        plain = value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else value
        if plain is not None and plain is not EMPTY:
            typed = spec.merge(typed, {PLACES[name]: {name: plain}} if name in PLACES else {name: plain})
    named = "" if preset == WORKSPACE else preset
    inner = {name: values for name, values in typed.items() if isinstance(values, dict)}
    typed_keys = {f"{name}.{key}": value for name, values in inner.items() for key, value in values.items()}
    if plugins.named(typed_keys):
        plugins.from_outside(typed_keys, spec.flatten(spec.resolve(named).params))
    return spec.resolve(named, typed).params


def filled_in(params: Params, fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` as a form that leaves nothing empty would have them, for ``params``."""
    values = _with_switches_as_text(params.model_dump(mode="json"))
    return {name: values[PLACES[name]][name] if name in PLACES else values[name] for name in fields}


def _with_switches_as_text(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with booleans as the form has them: "true" and "false"."""
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        inner = _with_switches_as_text(value) if isinstance(value, dict) else value
        chosen[key] = str(inner).lower() if isinstance(inner, bool) else inner
    return chosen
