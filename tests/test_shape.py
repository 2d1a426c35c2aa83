"""The figures of the structure get no worse: docs/architecture.md has them as they are."""

from pathlib import Path

from tests import shape


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    page = Path("docs/architecture.md").read_text(encoding="utf-8")
    assert shape.table() in page, "write what `make shape` prints into docs/architecture.md"
