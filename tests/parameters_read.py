"""Which parameters code asks for, read off the source by following names: what a stage declares is held to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stepladder import dependencies
from stepladder.dependencies import PACKAGE
from stepladder.params import Params


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
    aside = dependencies._aside(functions)
    seen: set[tuple[Path, str]] = set()
    waiting = [(module, name) for module, _, name in (function.partition(":") for function in functions)]
    while waiting:
        module, name = waiting.pop()
        file = dependencies._file(module)
        if file is None or dependencies._is_in(module, aside) or (file, name) in seen:
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
    for part in (part for node in definitions.get(name, ()) for part in dependencies._counted(node)):
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
    for node in dependencies._tree(file).body:
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
    for node in ast.walk(dependencies._tree(file)):
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
