"""``make shape``: the figures of the structure, as the table of docs/architecture.md; ``tests/test_shape.py`` holds what it can."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path("src/stepladder")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions() -> Iterator[tuple[Path, Function, tuple[str, ...]]]:
    """(file, function, names of what it stands in) of each, methods and inner ones included."""

    def within(file: Path, node: ast.AST, place: tuple[str, ...]) -> Iterator[tuple[Path, Function, tuple[str, ...]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield file, child, place
            inner = (*place, child.name) if isinstance(child, Function | ast.ClassDef) else place
            yield from within(file, child, inner)

    for file in files():
        yield from within(file, ast.parse(file.read_text(encoding="utf-8")), ())


def dictionaries() -> list[str]:
    """``dict[str, Any]`` in signatures: of a parameter or of what is returned, once each."""
    found = []
    for file, function, _ in functions():
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        hints = [*(argument.annotation for argument in every), function.returns]
        count = sum(ast.unparse(hint).count("dict[str, Any]") for hint in hints if hint is not None)
        found += [f"{file}:{function.lineno} {function.name}"] * count
    return found


def long_functions(most: int = 60) -> list[str]:
    return [
        f"{file}:{function.lineno} {function.name}"
        for file, function, _ in functions()
        if (function.end_lineno or 0) - function.lineno + 1 > most
    ]


def long_files(most: int = 300) -> list[str]:
    return [str(file) for file in files() if len(file.read_text(encoding="utf-8").splitlines()) > most]


def undocumented() -> list[str]:
    """Public functions at the top of a module without a docstring."""
    return [
        f"{file}:{function.lineno} {function.name}"
        for file, function, place in functions()
        if not place and not function.name.startswith("_") and ast.get_docstring(function) is None
    ]


def lines() -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files())


def table() -> str:
    rows = [
        ("lines of source, to the nearest 500", round(lines() / 500) * 500, "< 25,400"),
        ("`dict[str, Any]` in signatures", len(dictionaries()), "<= 30"),
        ("functions over 60 lines", len(long_functions()), "0"),
        ("files over 300 lines", len(long_files()), "0"),
        ("public functions without a docstring", len(undocumented()), "0"),
    ]
    head = ["| | now | wanted |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {name} | {now:,} | {wanted} |" for name, now, wanted in rows)])


if __name__ == "__main__":
    print(table())
    for kind in (long_functions, long_files):
        print("\n".join(f"{kind.__name__}: {one}" for one in kind()))
