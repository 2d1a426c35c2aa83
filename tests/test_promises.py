"""The page of promises names tests that there are, one at least for each promise, and is found from the README."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "promises.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def rows() -> list[str]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [line for line in lines if not line.startswith(("| promise |", "| --- |"))]


def defined(file: Path) -> set[str]:
    nodes = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_promise_names_a_test_that_there_is():
    assert len(rows()) > 50
    for row in rows():
        promise, _, tests = row.strip("| ").rpartition(" | ")
        assert promise
        assert NAMED.sub("", tests).replace(",", "").split() == [], f"{row} names what is no test"
        for file, name in NAMED.findall(tests):
            assert (ROOT / file).is_file(), f"{promise} There is no {file}."
            found = defined(ROOT / file)
            assert name in found if name else found, f"{promise} There is no {file}::{name}."


def test_the_page_is_found():
    pages = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/architecture.md")]
    assert any(re.search(r"\]\((docs/)?promises\.md\)", page) for page in pages)
