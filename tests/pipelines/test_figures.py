"""What ``dvc exp show`` and ``dvc metrics diff`` say of an experiment was measured with its parameters, or is not said."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.evaluate import evaluate
from pipelines.report import report
from pipelines.sweep import sweep
from pipelines.train import train
from tests.pipelines import project
from tests.pipelines.project import dvc, git, starts

pytestmark = pytest.mark.usefixtures("prefect_api", "scratch")

OURS = 1 + 10 / 5 + 3 / 20
"""Frechet of the workspace's best point, T=20 and S=5, as ``scratch/steps.py`` invents it."""


def shown(scratch: Path) -> dict[str, dict[str, Any]]:
    """The figures of every experiment, by name, as ``dvc exp show`` has them."""
    (baseline,) = [row for row in json.loads(dvc(scratch, "exp", "show", "--json")) if row["rev"] != "workspace"]
    found = {}
    for experiment in baseline["experiments"] or []:
        (revision,) = experiment["revs"]
        files = revision["data"]["metrics"]
        found[experiment["name"]] = {k: v for file in files.values() for k, v in (file.get("data") or {}).items()}
    return found


def last(scratch: Path, state: Any) -> str:
    (name,) = [name for name in shown(scratch) if f"lists it as {name};" in state.message]
    return name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished main job, committed."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("finished")
        patch.setenv("SCRATCH_LOG", str(folder / "log.jsonl"))
        made = project.make(folder / "project")
        dvc(made, "repro", "--quiet")
    assert json.loads((made / "reports/metrics.json").read_text())["frechet"] == pytest.approx(OURS)
    git(made, "add", "dvc.lock")
    git(made, "commit", "--quiet", "--message", "done")
    return made


@pytest.fixture
def done(scratch: Path, finished: Path) -> Path:
    """The current folder: a copy of the finished job."""
    shutil.rmtree(scratch)
    shutil.copytree(finished, scratch, symlinks=True)
    os.chdir(scratch)
    return scratch


def test_a_sweep_of_other_timesteps_shows_its_own_figures(done: Path, log: Path):
    before = len(starts(log))
    state = sweep(timesteps=(5,), sampling_steps=(2,), return_state=True)
    assert state.is_completed(), state.message
    assert sorted(starts(log)[before:]) == ["compare", "evaluate-diffusion:5", "train-diffusion:5"], (
        "the rest is cached"
    )
    name = last(done, state)
    assert shown(done)[name] == {"timesteps": 5, "frechet": pytest.approx(1 + 10 / 2 + 3 / 5)}
    (file,) = json.loads(dvc(done, "metrics", "diff", "--json", "HEAD", reference(done, name))).values()
    assert file["frechet"]["old"] == pytest.approx(OURS)
    assert file["frechet"]["new"] == pytest.approx(1 + 10 / 2 + 3 / 5)


@pytest.mark.parametrize("flow", ["train diffusion", "train transformer", "evaluate diffusion", "sweep"])
def test_an_experiment_without_a_comparison_has_no_figures_and_says_why(done: Path, flow: str):
    """Each changes what is compared, and something that the comparison needs has never been made for it."""
    if flow.startswith("train"):
        state = train(flow.split()[1], timesteps=(5,), seed=3, return_state=True)
    else:  # the translation is of other parameters than the last that was trained
        values = yaml.safe_load((done / "params.yaml").read_text())
        values["transformer"]["dropout"] = 0.4
        (done / "params.yaml").write_text(yaml.safe_dump(values))
        state = (sweep if flow == "sweep" else evaluate)(timesteps=(5,), sampling_steps=(1,), return_state=True)
    assert state.is_completed(), state.message
    name = last(done, state)
    assert shown(done)[name] == {}
    assert "It has no figures there: its parameters have no results of " in state.message
    assert "train-" in state.message.partition("no results of ")[2]
    lock = yaml.safe_load(git(done, "show", f"{reference(done, name)}:dvc.lock"))["stages"]
    assert not [stage for stage in ("compare", "register", "report") if "deps" in lock[stage]]
    if not flow.startswith("train"):  # else DVC names the results that there are none of, and ends with an error
        dvc(done, "exp", "apply", name)
        assert json.loads((done / "reports/metrics.json").read_text()) == {}
        assert "changed deps" in dvc(done, "status", "compare")
    if flow == "train diffusion":
        assert "evaluate-diffusion@10" not in lock, "of T that it does not have"


def test_judged_in_another_way_shows_the_new_figures_and_trains_nothing(done: Path, log: Path):
    before = len(starts(log))
    state = evaluate(sampling_steps=(2,), return_state=True)
    assert state.is_completed(), state.message
    assert sorted(starts(log)[before:]) == ["compare", "evaluate-diffusion:10", "evaluate-diffusion:20"]
    assert shown(done)[last(done, state)]["frechet"] == pytest.approx(1 + 10 / 2 + 3 / 20)


def test_an_applied_experiment_brings_its_figures_and_runs_nothing_again(done: Path, log: Path):
    state = sweep(timesteps=(5,), sampling_steps=(2,), return_state=True)
    name, ran = last(done, state), len(starts(log))
    dvc(done, "exp", "apply", name)
    assert json.loads((done / "reports/metrics.json").read_text())["timesteps"] == 5
    assert json.loads((done / "reports/metrics.json").read_text())["frechet"] == pytest.approx(1 + 10 / 2 + 3 / 5)
    dvc(done, "repro", "evaluate-diffusion")
    assert len(starts(log)) == ran


def test_the_report_of_a_sweep_registers_trains_and_judges_nothing(done: Path, log: Path):
    name = last(done, sweep(timesteps=(5,), sampling_steps=(2,), return_state=True))
    lock, registered = (done / "dvc.lock").read_bytes(), (done / "reports/registered/training.json").read_bytes()
    before, page = len(starts(log)), (done / "reports/index.html").read_bytes()
    state = report(name, return_state=True)
    assert state.is_completed(), state.message
    assert set(starts(log)[before:]) <= {"compare", "report"}
    assert "Not on it, for it was not made with these parameters: register." in state.message
    assert "the report of [5] with T=5<" in (done / "reports/experiments" / name / "index.html").read_text()
    assert (done / "dvc.lock").read_bytes() == lock
    assert (done / "reports/registered/training.json").read_bytes() == registered
    assert (done / "reports/index.html").read_bytes() == page


def test_the_report_of_a_training_alone_is_refused_by_the_comparison_and_runs_nothing_else(done: Path, log: Path):
    """As ``stepladder compare`` refuses where nothing has been judged."""
    name = last(done, train("transformer", seed=3, return_state=True))
    before = len(starts(log))
    report(name, return_state=True)
    assert set(starts(log)[before:]) <= {"compare", "report"}


def test_the_report_of_changed_parameters_has_no_results_of_the_old(done: Path, log: Path):
    values = yaml.safe_load((done / "params.yaml").read_text())
    values["sweep"] = {"timesteps": [10, 30], "sampling_steps": [1, 5]}
    (done / "params.yaml").write_text(yaml.safe_dump(values))
    before = len(starts(log))
    state = report(return_state=True)
    assert state.is_completed(), state.message
    assert starts(log)[before:] == ["compare", "report"]
    assert "train-diffusion@30, evaluate-diffusion@30, register" in state.message
    assert "the report of [10, 30] with T=10<" in (done / "reports/index.html").read_text()


def test_results_that_left_the_cache_count_as_not_made(done: Path):
    shutil.rmtree(done / ".dvc/cache/files")
    state = sweep(timesteps=(5,), sampling_steps=(2,), return_state=True)
    assert state.is_completed(), state.message
    assert shown(done)[last(done, state)] == {}
    assert "no results of prepare@text, train-transformer to compare" in state.message


def reference(scratch: Path, name: str) -> str:
    refs = git(scratch, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return ref
