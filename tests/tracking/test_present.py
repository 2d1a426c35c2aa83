"""Registered models judged by the real command, and what `show` says of one that was made elsewhere."""

import re
from pathlib import Path

import pytest

from stepladder import lineage
from stepladder.tracking import show
from tests import registered
from tests.registered import run
from tests.tracking.test_reproduction import DIFFUSION, TRANSFORMER, in_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project() -> Path:
    return registered.project()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Of each file its bytes and when it was written."""
    return {
        str(file.relative_to(folder)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("champion", "said"), [(DIFFUSION, r"T=6, S=\d: frechet [\d.]+"), (TRANSFORMER, r"pairs: chrf [\d.]+")]
)
def test_a_registered_model_is_judged_once_and_kept_apart_from_the_reports(project, champion, said):
    kept, reports = project / ".evaluations", contents(project / "reports")
    known = set(contents(kept))
    first = run(project, "evaluate", "--model", champion.replace("@champion", "/1"))
    assert re.search(rf"^{said}.*, of ", first, re.M), first
    judged = contents(kept)
    (metrics,) = {name for name in set(judged) - known if name.endswith("metrics.json")}
    assert f"{kept / metrics}".removesuffix("/metrics.json") in first
    again = run(project, "evaluate", "--model", champion)
    assert re.findall(rf"^{said}.*$", again, re.M) == re.findall(rf"^{said}.*$", first, re.M)
    assert contents(kept) == judged, "it is not judged again"
    assert contents(project / "reports") == reports


def test_show_names_the_versions_that_a_model_was_made_under(project, monkeypatch):
    here = lineage.versions()
    assert "\nversions " not in in_project(project, monkeypatch, lambda: show.show(DIFFUSION))
    monkeypatch.setattr(lineage, "versions", lambda: here | {"torch": "99.0"})
    said = in_project(project, monkeypatch, lambda: show.show(DIFFUSION))
    assert re.findall(r"^versions +(.*)$", said, re.M) == [f"made with torch {here['torch']} (here 99.0)"]
