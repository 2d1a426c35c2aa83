"""The figures of the structure get no worse: docs/architecture.md has them as they are."""

from pathlib import Path

from tests import shape


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    page = Path("docs/architecture.md").read_text(encoding="utf-8")
    assert shape.table() in page, "write what `make shape` prints into docs/architecture.md"


def test_every_public_function_says_what_it_does() -> None:
    assert shape.undocumented() == []


def test_every_function_and_every_file_is_read_in_one_sitting() -> None:
    assert shape.long_functions() == []
    assert shape.long_files() == []
