"""The figures of the structure get no worse: docs/architecture.md has them as they are."""

import importlib
import inspect
import pkgutil
from functools import cached_property
from pathlib import Path

import stepladder
from tests import shape


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    page = Path("docs/architecture.md").read_text(encoding="utf-8")
    assert shape.table() in page, "write what `make shape` prints into docs/architecture.md"


def test_every_public_function_says_what_it_does() -> None:
    assert shape.undocumented() == []


def test_every_function_and_every_file_is_read_in_one_sitting() -> None:
    assert shape.long_functions() == []
    assert shape.long_files() == []


def public_methods():
    """(class, name, method) of every class of the package, as its own module defines them."""
    for found in pkgutil.walk_packages(stepladder.__path__, "stepladder."):
        if not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            for kind in vars(module).values():
                if inspect.isclass(kind) and kind.__module__ == found.name and not kind.__name__.startswith("_"):
                    for name, method in vars(kind).items():
                        made = isinstance(method, property | cached_property | classmethod | staticmethod)
                        field = name in getattr(kind, "__dataclass_fields__", {})
                        if (made or inspect.isfunction(method)) and not field and not name.startswith("_"):
                            yield kind, name, method


def test_help_says_something_of_every_public_method():
    """By itself, or as what it takes the place of does."""
    every = list(public_methods())
    assert len(every) > 300
    silent = [
        f"{kind.__module__}.{kind.__name__}.{name}"
        for kind, name, method in every
        if not (inspect.getdoc(method) or inspect.getdoc(getattr(kind, name)))
    ]
    assert not silent
