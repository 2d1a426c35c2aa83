"""What the pages name is there: files, folders and headings."""

import re
from pathlib import Path

import pytest

PAGES = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=str)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"`([\w./-]+/[\w.-]*\.(?:py|yaml|md|json|toml|sh))(?:::\w+)?`")
MADE = ("data/", "models/", "reports/", "mlruns/", ".history/", ".checkpoints/", ".prefect/", "sweeps/", "studies/")
"""Where what a page names is made by running it, or is the reader's own."""


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page} links to {target}"


@EVERY_PAGE
def test_files_that_are_named_are_there(page: Path) -> None:
    homes = [Path(), Path("src/stepladder"), Path("src/stepladder/diffusion"), Path("benchmarks"), page.parent]
    for name in PATH.findall(page.read_text(encoding="utf-8")):
        made = name.startswith(MADE) and not name.endswith(".py")
        assert made or any((home / name).exists() for home in homes), f"{page} names {name}"
