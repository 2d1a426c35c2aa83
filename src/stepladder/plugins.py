"""Custom code, which parameters name as ``module:name``: a schedule, sampler, process, network or source of pictures.

The module is searched in the project's folder, then on Python's path. It runs as soon as parameters that name it are read, so
only files and the shell may name it, not forms or requests: see ``from_outside``. Its source, and the source of what it imports
from the project's folder, is code of each stage that uses it: see ``files``, ``code_hash``.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic_core import core_schema

from stepladder import project
from stepladder.errors import UserError

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
KEYS = ("diffusion.process", "diffusion.schedule", "diffusion.backbone", "sampling.sampler", "images.source")
SHOWN = 8  # of a module's names that are printed

_homes: list[str] = []
_added: list[str] = []  # entries that were added to the import path
_admitted: dict[tuple[str, str], Any] = {}


class CustomCodeMissing(UserError):
    """The module, or the name in it, is not on this machine."""


class Unfit(ValueError):
    """The object is not of the required form; the message says why."""


class AcceptsCustomCode:
    """Metadata for the type of a form's or a request's field that accepts ``module:name``; ``from_outside`` checks it later."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(self._validated, handler(source), serialization=as_it_is)

    def _validated(self, value: Any, handler: Callable[[Any], Any]) -> Any:
        return value if is_custom(value) else handler(value)


@dataclass(frozen=True)
class Kind(AcceptsCustomCode, Generic[T]):
    """A kind of custom code. In a parameter's type it accepts ``module:name`` in addition to the choices.

    Attributes:
        key: the parameter that names it.
        wanted: a description of what it must be, with its signature.
        admit: ``admit(name, loaded)``: checks the loaded object on an example and returns the value to use; raises ``Unfit``.
    """

    key: str
    wanted: str
    admit: Callable[[str, Any], T]

    def find(self, name: str) -> T:
        """The checked object that ``module:name`` names.

        Raises:
            UserError: it does not exist (``CustomCodeMissing``), cannot be imported, or is not of the required form.
        """
        _enter()
        if (self.key, name) not in _admitted:
            setting = f"{self.key}={name}"
            loaded = _load(setting, name)
            try:
                _admitted[self.key, name] = self.admit(name, loaded)
            except Exception as error:
                why = str(error) if isinstance(error, Unfit) else f"a trial of it ended with {_brief(error)}"
                raise UserError(f"{setting}: {why}; it must be {self.wanted}.") from None
        return cast(T, _admitted[self.key, name])

    def _validated(self, value: Any, handler: Callable[[Any], Any]) -> Any:
        if not is_custom(value) or any((home / value).exists() for home in project.homes()):
            return handler(value)
        try:
            self.find(value)
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        return value


class Table(dict[str, T]):
    """The built-in objects of a kind, by name; a key ``module:name`` gives a custom one. Other keys raise ``UserError``."""

    def __init__(self, kind: Kind[T], built_in: Mapping[str, T]) -> None:
        super().__init__(built_in)
        self.kind = kind

    def __missing__(self, name: str) -> T:
        if is_custom(name):
            return self.kind.find(name)
        what = self.kind.key.partition(".")[2]
        raise UserError(f"There is no {what} {name!r}; there are: {', '.join(self)}, and your own as module:name.")


def is_custom(name: object) -> bool:
    """Whether ``name`` names custom code."""
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def named(leaves: Mapping[str, Any]) -> list[str]:
    """The names of custom code among parameters by dotted key."""
    return [leaves[key] for key in KEYS if is_custom(leaves.get(key))]


def of_model(folder: Path) -> list[str]:
    """The custom code that the model in ``folder`` needs; [] where its ``config.json`` names none, or cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        leaves = {"diffusion.backbone": config["model"].get("backbone")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return named(leaves | {f"diffusion.{key}": config.get(key) for key in ("process", "schedule")})


def bundled(names: Iterable[str]) -> list[str]:
    """The files, or the folders of packages, that are needed to import ``names`` elsewhere."""
    paths = []
    for module, file in files(names).items():
        place = file.parent if file.name == "__init__.py" else file
        paths.append(str([place, *place.parents][module.count(".")]))
    return list(dict.fromkeys(paths))


def from_outside(requested: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a form or request, ``requested`` by dotted key, names code that no file names in ``known``."""
    for key in KEYS:
        if is_custom(requested.get(key)) and requested[key] != known.get(key):
            raise UserError(
                f"{key}={requested[key]} names code to be run, which forms and requests cannot; put it into params.yaml or a preset, "
                "or give it in the shell."
            )


def check_signature(found: Any, *values: Any, **by_name: Any) -> None:
    """Raise ``Unfit`` where ``found`` cannot be called with such arguments; their values do not matter."""
    try:
        inspect.signature(found).bind(*values, **by_name)
    except (TypeError, ValueError) as error:
        raise Unfit(f"it cannot be called so ({_brief(error)})") from None


def files(names: Iterable[str], root: Path = Path()) -> dict[str, Path]:
    """Source files, by module, of ``names`` and of all that they import, at any place, from the project in ``root`` or their own
    package; imports whose name is only known at run time are not seen.
    """  # fmt: skip
    sources: dict[str, Path] = {}
    for name in names:
        first = name.partition(":")[0]
        waiting = [*_with_packages(first)]
        while waiting:
            module = waiting.pop()
            file = _file(module, root, first.partition(".")[0])
            if file is not None and module not in sources:
                sources[module] = file
                waiting += [part for other in _imports(module, file) for part in _with_packages(other)]
    return dict(sorted(sources.items()))


def code_hash(names: Iterable[str]) -> list[str]:
    """SHA-256 of the ``files`` of ``names``, as a list of one; [] where nothing is named, so that nothing is added to a key."""
    digest, sources = hashlib.sha256(), files(names)
    for module, file in sources.items():
        digest.update(module.encode() + b"\0" + file.read_bytes() + b"\0")
    return [digest.hexdigest()] if sources else []


def _enter() -> None:
    """Put the project's folder on the import path, and remove modules of another project."""
    homes = [*dict.fromkeys(str(home.absolute()) for home in project.homes())]
    if _homes == homes:
        return
    for name, module in [*sys.modules.items()]:
        source = getattr(module, "__file__", None)
        if source and any(Path(source) == file for home in _added for file in _places(Path(home), name)):
            del sys.modules[name]
    kept = [path for path in sys.path if path not in _added]
    _homes[:], _added[:] = homes, [home for home in homes if home not in kept]
    sys.path[:] = [*_added, *kept]
    _admitted.clear()
    importlib.invalidate_caches()


def _load(setting: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    importlib.invalidate_caches()  # the file may be new
    try:
        loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) or ""
        if not isinstance(error, ModuleNotFoundError) or not f"{module}.".startswith(f"{missing}."):
            raise UserError(f"{setting}: the module {module} cannot be imported ({_brief(error)}); mend it.") from None
        homes = project.homes()
        near = difflib.get_close_matches(missing, [file.stem for home in homes for file in home.glob("*.py")], n=1)
        where = ", ".join(dict.fromkeys(str(home.absolute()) for home in homes))
        todo = f"the nearest there is {near[0]}." if near else f"put {missing.replace('.', '/')}.py there."
        raise CustomCodeMissing(f"{setting}: there is no module {missing} in {where}, nor installed; {todo}") from None
    if module not in files([name]):
        raise UserError(
            f"{setting}: {module} has no source file whose changes could be seen; name a module in a .py file."
        )
    if not hasattr(loaded, attribute):
        public = [word for word in vars(loaded) if not word.startswith("_")]
        near = difflib.get_close_matches(attribute, public, n=1)
        has = f"the nearest there is {near[0]}." if near else f"it has: {', '.join(public[:SHOWN]) or 'nothing'}."
        raise CustomCodeMissing(f"{setting}: {loaded.__file__} has no {attribute}; {has}")
    return getattr(loaded, attribute)


def _file(module: str, root: Path, package: str) -> Path | None:
    """The source of ``module`` in the project in ``root``, or the installed one where it belongs to ``package``."""
    for home in project.homes(root):
        for file in _places(home, module):
            if file.exists():
                return file.absolute()
    if module.partition(".")[0] == package:
        with suppress(ImportError, ValueError, AttributeError):
            spec = importlib.util.find_spec(module)
            if spec and spec.origin and spec.origin.endswith(".py"):
                return Path(spec.origin)
    return None


def _places(home: Path, module: str) -> tuple[Path, Path]:
    place = home.joinpath(*module.split("."))
    return place.with_suffix(".py"), place / "__init__.py"


def _imports(module: str, file: Path) -> Iterator[str]:
    """Names of modules, or of what may be modules, that ``file``, the source of ``module``, imports."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    with suppress(SyntaxError, ValueError):  # such a file cannot be imported either
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                with suppress(ImportError):
                    base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                    yield from (base, *(f"{base}.{alias.name}" for alias in node.names))


def _with_packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(".: ")
