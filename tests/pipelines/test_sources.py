"""A flow prepares again what has changed outside the project, as `dvc repro` does."""

import pytest
from prefect import flow

from pipelines import graph, run
from tests.data.test_sources import add, counts, made, project, stale  # noqa: F401

pytestmark = [pytest.mark.usefixtures("prefect_api"), pytest.mark.slow]


@flow
def prepares(root):
    return run.run_stages(graph.read(root), root, root)


def test_a_changed_source_is_prepared_again_by_a_flow(project, monkeypatch):  # noqa: F811
    monkeypatch.delenv("DVC_ROOT", raising=False)
    before, text = counts(project, "images"), (project / "data/text/card.json").stat().st_mtime_ns
    add()
    assert stale(project) == {"prepare@images"}
    assert prepares(project).failed == {}
    assert counts(project, "images") == before + 1
    assert (project / "data/text/card.json").stat().st_mtime_ns == text, "the other is up to date"
    assert not stale(project)
