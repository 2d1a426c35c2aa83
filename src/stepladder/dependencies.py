"""What a result depends on, read off the source: which code runs, and which parameters that code asks for.

Nothing that can be read is listed by hand. The key of a training, the fingerprint of a sweep's child and the dependencies in
``dvc.yaml`` all come from here (``stages`` says where each begins), so that they cannot tell different things.
"""

from __future__ import annotations

import ast
import hashlib
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel

import stepladder
from stepladder.params import Params

PACKAGE = "stepladder"
HOME = Path(stepladder.__file__).parent
ASIDE = {
    "commands": "words of the command line",
    "dependencies": "what counts",
    "absent": "that there is nothing",
    "disk": "room on the disk",
    "errors": "sentences for people",
    "history": "what happened",
    "installed": "where the package is",
    "journal": "what happens, as it happens",
    "lineage": "what a training comes from",
    "launching": "how a training is started, and what becomes of it",
    "params": "what it makes of params.yaml is in the values; of the sections that are read see `section_code`",
    "processes": "how ranks are started",
    "project": "where the project is",
    "slots": "who waits for which device",
    "tracking": "what happened",
    "replacing": "how a folder is put in place",
}
"""Modules and packages that carry a result and do not make it, each with what it is for instead."""
FOR_PEOPLE = {"preview"}
"""Functions whose imports do not count: what they draw is looked at, and nothing is made of it."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        functions: that it calls, as MODULE:FUNCTION of ``stepladder``.
        reads: sections of the parameters, or single keys.
    """

    functions: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def sections(self) -> tuple[str, ...]:
        """Those of the parameters that it reads, in whole or in part."""
        return tuple(dict.fromkeys(read.partition(".")[0] for read in self.reads))

    def is_read(self, key: str) -> bool:
        """Whether it reads the parameter ``key``, such as ``diffusion.unet.channels``."""
        return any(key == read or key.startswith(f"{read}.") for read in self.reads)

    def code(self) -> tuple[str, ...]:
        """The source files, from the package's folder, that decide what it makes."""
        modules = (function.partition(":")[0] for function in self.functions)
        return tuple(sorted({*code(*modules), *section_code(self.reads)}))


@cache
def code(*modules: str) -> tuple[str, ...]:
    """The source files, from the package's folder, that ``modules`` run: they and all they import, wherever they import it.

    What is ``ASIDE`` does not count, unless one of ``modules`` is of it; nor does a file that says nothing but what it is.

    Raises:
        ValueError: there is no such module, or one is imported by a name that is only known when it runs.
    """
    aside = _aside(modules)
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None:
            raise ValueError(f"There is no module {PACKAGE}.{name}.")
        if file in found or _is_in(name, aside):
            continue
        found.add(file)
        waiting += _imports(file)
    return tuple(
        sorted(file.relative_to(HOME).as_posix() for file in found.union(*map(_pages, found)) if not is_bare(file))
    )


def section_code(reads: Iterable[str]) -> tuple[str, ...]:
    """The source files that define the sections of parameters named, or those that hold the keys named: their defaults and
    what they compute of their values."""  # fmt: skip
    found: set[str] = set()
    for read in reads:
        found |= set(_defined(Params.model_fields[read.partition(".")[0]].annotation))
    return tuple(sorted(found))


def code_hash(files: Iterable[str]) -> str:
    """SHA-256 of source files, as ``code`` names them."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        digest.update(file.encode() + b"\0" + (HOME / file).read_bytes() + b"\0")
    return digest.hexdigest()


def reads(*functions: str) -> set[str]:
    """The parameters that ``functions``, such as ``evaluation.pictures.images:evaluate``, ask for, themselves or in what they call:
    ``diffusion`` where a whole section is used, ``sweep.timesteps`` where a key is.

    Counted is what stands behind the word ``params`` and behind names declared as ``Params``; who flattens or dumps the whole
    tree asks for every section.
    """  # fmt: skip
    found: set[str] = set()
    for file, name in _reached(functions):
        for node in _definitions(file)[name]:
            names = {
                word.arg
                for word in ast.walk(node)
                if isinstance(word, ast.arg) and word.annotation and ast.unparse(word.annotation) == "Params"
            }
            found |= set(_asked(node, names | {"params"}))
    return {key for key in found if key.partition(".")[0] == key or key.partition(".")[0] not in found}


def attributes(*functions: str) -> set[str]:
    """Every name that stands behind a dot in ``functions`` and what they call."""
    nodes = (node for file, name in _reached(functions) for node in _definitions(file)[name])
    return {part.attr for node in nodes for part in ast.walk(node) if isinstance(part, ast.Attribute)}


@cache
def _reached(functions: tuple[str, ...]) -> set[tuple[Path, str]]:
    """Functions, classes and constants, each by its file and name, that ``functions`` use, by following names."""
    aside = _aside(functions)
    seen: set[tuple[Path, str]] = set()
    waiting = [(module, name) for module, _, name in (function.partition(":") for function in functions)]
    while waiting:
        module, name = waiting.pop()
        file = _file(module)
        if file is None or _is_in(module, aside) or (file, name) in seen:
            continue
        seen.add((file, name))
        if name not in _definitions(file) and name in _bindings(file):
            waiting.append(_bindings(file)[name])
        waiting += _used(file, module, name)
    return {(file, name) for file, name in seen if name in _definitions(file)}


@cache
def _used(file: Path, module: str, name: str) -> tuple[tuple[str, str], ...]:
    """(module, name) of what the definitions of ``name`` in ``file`` use."""
    bindings, definitions, found = _bindings(file), _definitions(file), []
    for part in (part for node in definitions.get(name, ()) for part in _counted(node)):
        if isinstance(part, ast.Name):
            if part.id in definitions:
                found.append((module, part.id))
            elif part.id in bindings:
                found.append(bindings[part.id])
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in bindings:
            of, inner = bindings[part.value.id]
            found.append((f"{of}.{inner}", part.attr))  # of a module that was imported as a name
    return tuple(found)


@cache
def _definitions(file: Path) -> dict[str, list[ast.stmt]]:
    """What stands at the top of a file, by name."""
    found: dict[str, list[ast.stmt]] = {}
    for node in _tree(file).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(node)
    return found


@cache
def _bindings(file: Path) -> dict[str, tuple[str, str]]:
    """What a file imports from the package, wherever it does: the name it has there, and (module, name) of what it is."""
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(f"{PACKAGE}."):
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module.removeprefix(PACKAGE).lstrip("."), alias.name)
    return found


def _asked(node: ast.AST, names: set[str]) -> Iterator[str]:
    if (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("flatten", "render")
        and _is_whole(node.args[0], names)
    ):
        yield from Params.model_fields
    if isinstance(node, ast.Attribute):
        words = ast.unparse(node).split(".")
        place = next((i for i, word in enumerate(words) if word in names and (i == 0 or word == "params")), None)
        if place is not None and len(words) > place + 1:
            if words[place + 1] == "model_dump":
                yield from Params.model_fields
            if words[place + 1] in Params.model_fields:
                section, key = words[place + 1], words[place + 2] if len(words) > place + 2 else ""
                keys = getattr(Params.model_fields[section].annotation, "model_fields", {})
                yield f"{section}.{key}" if key in keys else section
                return
    for child in ast.iter_child_nodes(node):
        yield from _asked(child, names)


def _is_whole(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _defined(kind: typing.Any) -> Iterator[str]:
    """Files of a section's class, of those it is made of and of those it derives from."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for base in kind.__mro__:
            if base.__module__.startswith(f"{PACKAGE}."):
                file = _file(base.__module__.removeprefix(f"{PACKAGE}."))
                assert file is not None
                yield file.relative_to(HOME).as_posix()
        for field in kind.model_fields.values():
            yield from _defined(field.annotation)
    for argument in typing.get_args(kind):
        yield from _defined(argument)


@cache
def _imports(file: Path) -> tuple[str, ...]:
    """Names, within the package, of the modules that ``file`` imports, at its top or in a function."""
    found = []
    for node in _counted(_tree(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and _is_unforeseeable(node):
            raise ValueError(f"{file} imports {ast.unparse(node.args[0])}, whose name is only known when it runs.")
    names = [name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(f"{PACKAGE}.")]
    packages = [".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)]
    return tuple(dict.fromkeys(name for name in packages if _file(name) is not None))


def _is_unforeseeable(call: ast.Call) -> bool:
    """Whether what it imports cannot be read; a family's module can: its training begins there, beside the worker."""
    is_import = ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")
    return is_import and "FAMILIES" not in ast.unparse(call)


def _pages(file: Path) -> set[Path]:
    """Files beside a source file that it names: a page's template."""
    words = {
        node.value for node in ast.walk(_tree(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        other for other in file.parent.iterdir() if other.is_file() and other.suffix != ".py" and other.name in words
    }


def _counted(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and all within it, without what is for people or for the type checker only."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name in FOR_PEOPLE:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield from _counted(child)


def _aside(begun: Iterable[str]) -> tuple[str, ...]:
    """What is aside for whoever begins at these modules or functions."""
    return tuple(name for name in ASIDE if not any(_is_in(one.partition(":")[0], (name,)) for one in begun))


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def is_bare(file: Path) -> bool:
    """Whether a source file holds at most its docstring."""
    return file.suffix == ".py" and all(isinstance(node, ast.Expr) for node in _tree(file).body)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _file(module: str) -> Path | None:
    path = HOME.joinpath(*module.split("."))
    if path.with_suffix(".py").exists():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").exists() else None
