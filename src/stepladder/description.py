"""The description of a trained model in its folder, ``config.json``: frozen records, and their only reader.

Each family has its record next to its network; all code that loads, draws, serves or judges reads it. A default is what folders
from before the key mean, and never changes. ``VERSION`` rises with every key that an older reader must not ignore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from stepladder.errors import UserError
from stepladder.text_tasks.tasks import TASKS, name_of

VERSION = 1
FILE, WEIGHTS = "config.json", "model.safetensors"
SHOWN = 60  # characters of an invalid value that are printed


@dataclass(frozen=True)
class Kind:
    """A kind of model in a folder: its title, what uses it, and what makes one."""

    title: str
    use: str
    make: str


KINDS = {
    "diffusion": Kind("diffusion model", "`stepladder sample` draws with it", "`stepladder train diffusion`"),
    "vae": Kind("variational autoencoder", "`stepladder sample` draws with it", "`stepladder train vae`"),
    "gan": Kind("generator of a GAN", "`stepladder sample` draws with it", "`stepladder train gan`"),
    "noisy-classifier": Kind(
        "noisy classifier", "`stepladder sample --classifier` is guided by it", "`stepladder train noisy-classifier`"
    ),
    "feature-net": Kind("feature network", "`stepladder evaluate` judges by it", "`dvc repro feature-net`"),
    **{name: Kind(task.model.title, task.model.use, task.model.make) for name, task in TASKS.items()},
}


class Record(BaseModel):
    """A part of a description: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _named(value: Any) -> Any:
    return str(value) if type(value) is int else value


Name = Annotated[str, BeforeValidator(_named)]  # of a class; a number is also accepted
Count = Annotated[int, Field(ge=1, lt=2**31)]
Number = Annotated[int, Field(ge=0, lt=2**31)]
Depth = Annotated[int, Field(ge=0, le=1024)]  # layers or blocks one after the other
Shape = tuple[Count, Count, Count]  # (C, H, W) of a picture


class Data(BaseModel):
    """The prepared data that a model learned from; further keys of its card are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    source: str = ""
    content_hash: str = ""

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Data:
        """The record with the values of these keys in the ``card`` of prepared data."""
        return cls(**{key: card[key] for key in cls.model_fields if key in card})


class Description(Record):
    """The description of every model; a family's record adds its network's arguments, ``model``, and what its use requires.

    Attributes:
        kind: its name in ``KINDS``. identity: keys that identify it, and are always written.
        version: of the record; absent in folders from before there were versions.
        family: as ``training.families`` names it; absent in older folders of some families.
    """

    kind: ClassVar[str]
    identity: ClassVar[tuple[str, ...]] = ("version", "family")

    version: int = VERSION
    family: str = ""
    data: Data = Data()

    def to_json(self) -> str:
        """The text of ``config.json``: family, version, and the fields that were set when it was made."""
        fields = self.model_dump(mode="json", exclude_unset=True)
        return json.dumps({key: getattr(self, key) for key in self.identity} | fields, indent=2) + "\n"

    def __getitem__(self, key: str) -> Any:
        """Access as in a dictionary, for the code inside older registered models."""
        return getattr(self, key)


D = TypeVar("D", bound=Description)


def read(folder: Path, *records: type[D], remedy: str = "") -> D:
    """The description of the model in ``folder``, which must be of one of the families of ``records``.

    Args:
        remedy: advice for where there is no such model; "": advise to make one.

    Raises:
        UserError: there is no such folder, or it lacks ``config.json`` or the weights; or that is damaged, has unknown keys,
            is of another family, or was made by a newer stepladder.
    """
    names = [record.kind for record in records]
    config = _read_config(folder, names, remedy)
    actual = _kind(config)
    if actual and actual not in names:
        raise UserError(
            f"{folder} holds {_with_article(actual)}, not {_with_article(*names)}; {KINDS[actual].use}{'; ' * bool(remedy)}{remedy}."
        )
    record = next((record for record in records if record.kind == actual), records[0])
    older = "version" not in config
    kept = {key: value for key, value in config.items() if not older or key in record.model_fields}
    try:
        return record.model_validate_json(json.dumps(kept), strict=True)
    except ValidationError as error:
        raise refused(folder, names, _first_fault(error, kept), remedy) from None


def kind(folder: Path) -> str:
    """The kind of the model in ``folder``, a name in ``KINDS``, without checking the other keys.

    Raises:
        UserError: there is no such folder or model, or its kind cannot be determined.
    """
    name = _kind(_read_config(folder, [], ""))
    if not name:
        raise refused(folder, [], f"its {FILE} does not say of which family it is")
    return name


def refused(folder: Path, names: Sequence[str], why: str, remedy: str = "") -> UserError:
    """The error for a ``folder`` without a loadable model of the kinds ``names``, or of any kind where ``names`` is empty."""
    titles = " or ".join(KINDS[name].title for name in names) or "trained model"
    make = f", or make one with {KINDS[names[0]].make}" if names else ""
    todo = remedy or f"name a folder with {WEIGHTS} and {FILE}{make}"
    return UserError(f"{folder} holds no {titles} that can be loaded: {why}; {todo}.")


def _read_config(folder: Path, names: Sequence[str], remedy: str) -> Mapping[str, object]:
    """The content of ``config.json``: an object of a known version."""
    if not folder.is_dir():
        raise refused(folder, names, "there is no such folder", remedy)
    for name in (FILE, WEIGHTS):
        if not (folder / name).is_file():
            raise refused(folder, names, f"it has no {name}", remedy)
    try:
        config = json.loads((folder / FILE).read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise refused(folder, names, f"its {FILE} is damaged ({brief(error)})", remedy) from None
    except OSError as error:
        raise refused(folder, names, f"its {FILE} cannot be read ({error.strerror})", remedy) from None
    if not isinstance(config, dict):
        raise refused(folder, names, f"its {FILE} is damaged (it is no JSON object)", remedy)
    version = config.get("version", VERSION)
    if type(version) is not int or version < 1:
        raise refused(folder, names, f"its {FILE} has version={_brief_json(version)}, which is none", remedy)
    if version > VERSION:
        raise UserError(
            f"{folder} was made by a newer stepladder: its {FILE} is of version {version}, and this stepladder reads up to version "
            f"{VERSION}; update stepladder, or name a model that this one made."
        )
    return config


def _kind(config: Mapping[str, object]) -> str:
    """A name in ``KINDS``, "" where it cannot be determined: some older folders do not name their family."""
    family, task = config.get("family", ""), name_of(config)
    if not family:
        model = section if isinstance(section := config.get("model"), dict) else {}
        if {"task", "architecture", "target_languages"} & config.keys() or "vocab_size" in model:
            family = "transformer"
        elif {"timesteps", "prediction", "label_dropout"} & config.keys():
            family = "diffusion"
        elif "features" in model:
            family = "feature-net"
    if family == "transformer":
        return task if task in TASKS else ""
    return family if isinstance(family, str) and family in KINDS and family not in TASKS else ""


def _first_fault(error: ValidationError, config: Mapping[str, object]) -> str:
    """A clause with the first fault of a description."""
    first = error.errors(include_url=False)[0]
    where: list[str] = []
    within: Any = config
    for part in first["loc"]:  # skips the branches of a union, which are not keys
        item = isinstance(within, list) and isinstance(part, int) and part < len(within)
        if item or (isinstance(within, dict) and part in within):
            within = within[part]
        elif part != first["loc"][-1] or first["type"] != "missing":
            continue
        where.append(str(part))
    name = ".".join(where)
    if first["type"] == "missing":
        return f"its {FILE} lacks {name}"
    if first["type"] == "extra_forbidden":
        return f"its {FILE} has {name}, which no such model has"
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        return f"its {FILE} is damaged ({brief(message)})"
    return f"its {FILE} has {name}={_brief_json(within)}: {message[0].lower()}{brief(message)[1:]}"


def brief(error: object) -> str:
    """An error's message on one line, without its full stop, cut where it is long."""
    return " ".join(str(error).split())[:160].rstrip(".;") or type(error).__name__


def _brief_json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _with_article(*names: str) -> str:
    """Titles of ``KINDS`` with their article."""
    return " or ".join(f"a{'n' * (KINDS[name].title[0] in 'aeiou')} {KINDS[name].title}" for name in names)
