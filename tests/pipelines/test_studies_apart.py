"""The flows run what the project's own dvc.yaml declares, whatever studies there are."""

import shutil
from pathlib import Path

import yaml

from pipelines import graph
from tests.pipelines import project

CELLS = {
    "stages": {
        "cell": {
            "matrix": {"arm": ["one", "two"], "seed": [0, 1]},
            "wdir": "../..",
            "cmd": "mkdir -p studies/made/cells/${item.arm}-${item.seed}",
            "deps": ["models/feature-net"],
            "outs": ["studies/made/cells/${item.arm}-${item.seed}"],
        },
        "page": {
            "wdir": "../..",
            "cmd": "mkdir -p reports/studies/made",
            "deps": ["studies/made/cells"],
            "outs": ["reports/studies/made"],
        },
    }
}


def with_a_study(folder: Path) -> None:
    (folder / "studies" / "made").mkdir(parents=True)
    (folder / "studies" / "made" / "dvc.yaml").write_text(yaml.safe_dump(CELLS))


def test_a_study_is_no_part_of_the_flows_graph(scratch: Path):
    before = graph.read(scratch)
    with_a_study(scratch)
    assert "studies/made/dvc.yaml:cell@two-1" in project.dvc(scratch, "stage", "list", "--name-only", "--all")
    assert graph.read(scratch) == before


def test_a_study_brings_what_it_needs_up_to_date_and_nothing_else(scratch: Path, log: Path):
    project.dvc(scratch, "repro")
    finished = len(project.starts(log))
    with_a_study(scratch)
    assert "up to date" in project.dvc(scratch, "repro"), "a plain repro leaves studies alone"
    shutil.rmtree(scratch / "models" / "feature-net")
    (scratch / "dvc.lock").unlink()
    shutil.rmtree(scratch / ".dvc" / "cache")
    project.dvc(scratch, "repro", "studies/made/dvc.yaml")
    assert project.starts(log)[finished:] == ["prepare", "feature-net"]
    assert (scratch / "reports" / "studies" / "made").is_dir()
    assert "up to date" in project.dvc(scratch, "status", "studies/made/dvc.yaml")
    project.dvc(scratch, "repro")
    assert "up to date" in project.dvc(scratch, "repro"), "the study's page makes no stage of the project stale"
