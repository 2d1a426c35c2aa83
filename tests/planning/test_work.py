import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from pipelines import graph
from stepladder import history, lineage, project
from stepladder.cli import main
from stepladder.errors import UserError
from stepladder.launching import launch
from stepladder.params import build, render
from stepladder.planning import work
from stepladder.studies import spec as study_spec
from stepladder.sweeps import spec
from stepladder.sweeps.child import Child, Places
from stepladder.training.checkpoint import ENVIRONMENT
from tests import digits
from tests.pipelines.project import ROOT, dvc, make, make_real

PLACES = Places(Path("data/images"), Path("data/text"), Path("models/feature-net"))


def states(*targets: str) -> dict[str, str]:
    return {piece.name: piece.state for piece in work.of_stages(targets, PLACES)}


def test_stages_run_are_up_to_date_and_are_restored_as_dvc_does_it(tmp_path, monkeypatch):
    folder = make(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("SCRATCH_LOG", str(tmp_path / "log.jsonl"))
    assert set(states().values()) == {"runs"}
    assert {"prepare@text", "train-diffusion@10", "compare"} <= set(states())
    assert set(states("evaluate-diffusion@20")) == {
        "prepare@images", "feature-net", "train-diffusion@20", "evaluate-diffusion@20",
    }  # fmt: skip
    dvc(folder, "repro", "evaluate-diffusion@20", "train-diffusion@10")
    there = states()
    assert there["evaluate-diffusion@20"] == there["train-diffusion@10"] == "up to date"
    assert there["evaluate-diffusion@10"] == there["compare"] == "runs"

    for made in ("data", "models", "reports"):
        shutil.rmtree(folder / made)
    assert states("evaluate-diffusion@20") == {
        "prepare@images": "restored from the cache",
        "feature-net": "restored from the cache",
        "train-diffusion@20": "restored from the cache",
        "evaluate-diffusion@20": "restored from the cache",
    }
    assert "didn't change" not in dvc(folder, "repro", "evaluate-diffusion@20")
    assert set(states("evaluate-diffusion@20").values()) == {"up to date"}

    changed = (folder / "params.yaml").read_text().replace('sampler: "ancestral"', 'sampler: "ddim"')
    (folder / "params.yaml").write_text(changed)
    again = {piece.name: piece for piece in work.of_stages(["evaluate-diffusion@20"], PLACES)}
    assert again["train-diffusion@20"].state == "up to date"
    assert again["evaluate-diffusion@20"].state == "runs"
    assert "changed deps" in again["evaluate-diffusion@20"].why
    with pytest.raises(UserError, match="no-such-stage"):
        work.of_stages(["no-such-stage"], PLACES)


def test_graphs_apart_are_no_part_of_the_plan_nor_of_the_flows(tmp_path, monkeypatch, capsys):
    """As `make classification` and `make adaptation` leave them."""
    folder = make_real(tmp_path / "project", steps=1)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    before, names = graph.read(folder), [piece.name for piece in work.of_stages([], PLACES)]
    assert set(names) == set(before)
    for apart in ("classification", "adaptation"):
        (folder / "graphs" / apart).mkdir(parents=True)
        shutil.copy(ROOT / "graphs" / apart / "stages.yaml", folder / "graphs" / apart / "dvc.yaml")
    every = dvc(folder, "stage", "list", "--name-only", "--all").split()
    assert {"graphs/classification/dvc.yaml:masked-lm", "graphs/adaptation/dvc.yaml:prepare"} <= set(every)
    assert graph.read(folder) == before
    assert [piece.name for piece in work.of_stages([], PLACES)] == names
    capsys.readouterr()
    assert main(["plan", "--no-trial"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in names)
    assert not [name for name in every if ":" in name and name in said]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text(render(build({})))
    shutil.copytree(digits.prepared(), tmp_path / "data" / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/made.yaml").write_text(yaml.safe_dump({"space": {"timesteps": [4, 10]}, "seeds": [0, 1]}))
    return spec.read("made")


def test_children_of_a_sweep_are_there_resume_or_run(sweep):
    assert [piece.state for piece in work.of_sweep("made", PLACES)] == ["runs"] * 4
    first = Child("made", sweep, sweep.points()[0], 0, PLACES)
    checkpoint = project.checkpoints() / first.key / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    torch.save({"global_step": 120, ENVIRONMENT: lineage.deciding() | {"torch": "2.0.1"}}, checkpoint)
    (begun_elsewhere, *_) = work.of_sweep("made", PLACES)
    assert begun_elsewhere.state == "runs"
    assert begun_elsewhere.why == f"its checkpoint of step 120 was made with torch 2.0.1 (here {torch.__version__})"
    torch.save({"global_step": 120, ENVIRONMENT: lineage.deciding()}, checkpoint)
    pieces = work.of_sweep("made", PLACES)
    assert [piece.state for piece in pieces] == ["resumes", "runs", "runs", "runs"]
    assert pieces[0].name == "T=4, seed 0"
    assert pieces[0].why == "from step 120 of 700"
    assert pieces[0].training is not None
    assert (pieces[0].training.done, pieces[0].training.steps) == (120, 700)
    first.folder.mkdir(parents=True)
    (first.folder / "metrics.json").write_text(f'{{"fingerprint": "{first.fingerprint()}"}}')
    assert [piece.state for piece in work.of_sweep("made", PLACES)] == ["up to date", "runs", "runs", "runs"]
    first.model.mkdir(parents=True)
    for environment, said in (
        ({"environment": lineage.deciding()}, ""),
        ({"environment": lineage.deciding() | {"cuda": "12.4"}}, "made with cuda 12.4 (here "),
        ({}, "made with versions that were not recorded"),  # of before versions were recorded
    ):
        (first.model / history.TRAINING).write_text(json.dumps({"key": first.key} | environment))
        (made, *_) = work.of_sweep("made", PLACES)
        assert made.state == "up to date"
        assert made.why.startswith(said)
        assert bool(made.why) == bool(said)


def test_trials_that_optuna_is_still_to_choose_are_counted(sweep):
    Path("sweeps/made.yaml").write_text(
        yaml.safe_dump({"method": "optuna", "trials": 3, "space": {"timesteps": [4, 10]}, "seeds": [0, 1]})
    )
    pieces = work.of_sweep("made", PLACES)
    assert len(pieces) == 6
    assert {piece.why for piece in pieces} == {"Optuna chooses the point"}


def test_cells_of_a_study(sweep):
    study = {"question": "Which?", "seeds": [0], "arms": {"t10": {"timesteps": 10}, "vae": {"family": "vae"}}}
    Path("studies/made").mkdir(parents=True)
    Path("studies/made/study.yaml").write_text(yaml.safe_dump(study))
    pieces = work.of_study("made", PLACES)
    assert [(piece.name, piece.state) for piece in pieces] == [("t10 seed 0", "runs"), ("vae seed 0", "runs")]
    assert {piece.training.data for piece in pieces if piece.training} == {PLACES.images}
    model = Path("studies/made/cells/vae-0/model")
    model.mkdir(parents=True)
    key = launch.identity("vae", study_spec.read("made").params("vae", 0), PLACES.images, study=("made", "vae"))
    then = lineage.deciding() | {"lightning": "1.0"}
    (model / history.TRAINING).write_text(json.dumps({"key": key, "environment": then}))
    (_, kept) = work.of_study("made", PLACES)
    assert kept.state == "up to date"
    assert "made with lightning 1.0 (here " in kept.why


def test_cells_of_a_study_of_text_learn_from_the_text(sweep):
    study = {"question": "Which?", "seeds": [0], "measures": ["chrf"], "arms": {"a": {"family": "transformer"}}}
    Path("studies/made").mkdir(parents=True)
    Path("studies/made/study.yaml").write_text(yaml.safe_dump(study))
    (piece,) = work.of_study("made", PLACES)
    assert piece.training is not None
    assert piece.training.data == PLACES.text
