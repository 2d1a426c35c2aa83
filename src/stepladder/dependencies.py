"""What a result depends on: the code that runs, found in the source, and the parameters that its stage declares.

The key of a training, the fingerprint of a sweep's child and the dependencies in ``dvc.yaml`` all come from here (``stages`` has
the entry points), so that they always agree. Tests compare the declared parameters with those that the code reads.
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
NAMED = HOME / "text_tasks" / "record.py"  # imports what the record of a text task names, which stages name too
NOT_COUNTED = {
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
    "plugins": "how code of one's own is found; that code counts by itself",
    "processes": "how ranks are started",
    "project": "where the project is",
    "slots": "who waits for which device",
    "text_tasks": "which code a text task has: that code counts; its figures and words count for what compares and shows them",
    "tracking": "what happened",
    "registration": "what is said of a registered model",
    "replacing": "how a folder is put in place",
    "values": "what kind of things unchecked values are, for mypy",
}
"""Modules and packages that do not change a result, each with its purpose."""
COUNTED = ("params.backbones",)
"""Modules within ``NOT_COUNTED`` that count where they are imported: they read the description of a model's network."""
FOR_PEOPLE = {"preview"}
"""Functions whose imports do not count: their pictures are only for people."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        functions: those that it calls, as MODULE:FUNCTION of ``stepladder``.
        reads: sections of the parameters, or single keys, that it reads.
    """

    functions: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections of the parameters that it reads, fully or in part."""
        return tuple(dict.fromkeys(read.partition(".")[0] for read in self.reads))

    def is_read(self, key: str) -> bool:
        """Whether it reads the parameter ``key``, such as ``diffusion.unet.channels``."""
        return any(key == read or key.startswith(f"{read}.") for read in self.reads)

    def code(self) -> tuple[str, ...]:
        """The source files, relative to the package's folder, that determine its results."""
        modules = (function.partition(":")[0] for function in self.functions)
        return tuple(sorted({*code(*modules), *section_code(self.reads)}))


@cache
def code(*modules: str) -> tuple[str, ...]:
    """The source files, relative to the package's folder, of ``modules`` and of all that they import, also in functions.

    Modules in ``NOT_COUNTED`` do not count, unless one of ``modules`` belongs to them; nor does a file with only a docstring.

    Raises:
        ValueError: there is no such module, or the name of an imported one is only known at run time.
    """
    aside = _aside(modules)
    files: set[Path] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None:
            raise ValueError(f"There is no module {PACKAGE}.{name}.")
        if file in files or (_is_in(name, aside) and name not in COUNTED):
            continue
        files.add(file)
        waiting += _imports(file)
    return tuple(
        sorted(file.relative_to(HOME).as_posix() for file in files.union(*map(_pages, files)) if not is_bare(file))
    )


def section_code(reads: Iterable[str]) -> tuple[str, ...]:
    """The source files that define the sections of parameters in ``reads``, or the sections of the keys in it: their defaults
    and what they compute from their values.
    """
    files: set[str] = set()
    for read in reads:
        files |= set(_defined(Params.model_fields[read.partition(".")[0]].annotation))
    return tuple(sorted(files))


def code_hash(files: Iterable[str]) -> str:
    """SHA-256 of source files, as ``code`` names them."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        digest.update(file.encode() + b"\0" + (HOME / file).read_bytes() + b"\0")
    return digest.hexdigest()


def _defined(kind: typing.Any) -> Iterator[str]:
    """Files of a section's class, of its fields' classes and of its base classes."""
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
    """Names, within the package, of the modules that ``file`` imports, at the top or in a function."""
    imported = []
    for node in _counted(_tree(file)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and _is_of_its_folder(node):
            imported += [
                f"{PACKAGE}.{'.'.join(file.parent.relative_to(HOME).parts)}.{other.stem}"
                for other in sorted(file.parent.glob("*.py"))
            ]
        elif isinstance(node, ast.Call) and file != NAMED and _is_unforeseeable(node):
            raise ValueError(f"{file} imports {ast.unparse(node.args[0])}, whose name is only known when it runs.")
    names = [name.removeprefix(f"{PACKAGE}.") for name in imported if name.startswith(f"{PACKAGE}.")]
    packages = [".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)]
    return tuple(dict.fromkeys(name for name in packages if _file(name) is not None))


def _is_unforeseeable(call: ast.Call) -> bool:
    """Whether the import's name is only known at run time; a family's module does not count, since a stage names it too."""
    is_import = ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")
    return is_import and "FAMILIES" not in ast.unparse(call)


def _is_of_its_folder(call: ast.Call) -> bool:
    """Whether it imports a module of its own folder by a name that is only known at run time: it may be any of the folder."""
    return ast.unparse(call.func).endswith("import_module") and ast.unparse(call.args[0]).startswith("f'{__package__}.")


def _pages(file: Path) -> set[Path]:
    """Other files in a source file's folder that it names, such as a page's template."""
    words = {
        node.value for node in ast.walk(_tree(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        other for other in file.parent.iterdir() if other.is_file() and other.suffix != ".py" and other.name in words
    }


def _counted(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and all nodes within it, without code that is only for people or for the type checker."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name in FOR_PEOPLE:
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield from _counted(child)


def _aside(roots: Iterable[str]) -> tuple[str, ...]:
    """The names of ``NOT_COUNTED`` that do not contain any of the modules or functions ``roots``."""
    return tuple(name for name in NOT_COUNTED if not any(_is_in(one.partition(":")[0], (name,)) for one in roots))


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
