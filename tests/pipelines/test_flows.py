import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from pipelines.evaluate import evaluate
from pipelines.pipeline import pipeline
from pipelines.report import report
from pipelines.sweep import sweep
from pipelines.train import train
from tests.pipelines.project import ROOT, dvc, git, most_at_once, starts

pytestmark = pytest.mark.usefixtures("prefect_api", "scratch")

SWEEP = {
    "prepare", "feature-net",
    "train-diffusion:10", "train-diffusion:20", "evaluate-diffusion:10", "evaluate-diffusion:20",
}  # fmt: skip


def test_sweep_runs_the_diffusion_stages_in_the_workspace_and_only_once(scratch: Path, log: Path, monkeypatch):
    monkeypatch.setenv("SCRATCH_TOGETHER", "train-diffusion:10,train-diffusion:20")
    began = time.time()
    state = sweep(return_state=True)
    assert state.is_completed(), state.message
    assert set(starts(log)) == SWEEP
    assert most_at_once(log) == 2
    assert (scratch / "reports/diffusion/T20/metrics.json").exists()
    assert "prepare@text" not in (scratch / "dvc.lock").read_text()

    artifacts = artifacts_since(began)
    assert set(artifacts) == {
        "sweep-summary", "sweep-results", "sweep-quality", "sweep-samples", "sweep-mlflow", "sweep-parameters",
        "stages-done",
    }  # fmt: skip
    assert "Recommended: T=" in artifacts["sweep-summary"]
    assert "/#/experiments/1/runs/train-diffusion20" in artifacts["sweep-summary"]
    assert artifacts["sweep-quality"].startswith("data:image/png;base64,")

    assert sweep(return_state=True).is_completed()
    assert len(starts(log)) == len(SWEEP)
    assert "didn't change" in dvc(scratch, "repro", "evaluate-diffusion")
    assert len(starts(log)) == len(SWEEP)


def test_refused_child_fails_with_its_sentence_untried_again_and_the_others_go_on(log, scratch, monkeypatch):
    monkeypatch.setenv("SCRATCH_REFUSE", "train-diffusion:20")
    state = pipeline(return_state=True)
    assert state.is_failed()
    assert (
        "train-diffusion@20: diffusion.unet.heads=3, given for train-diffusion:20, does not divide 32; take 4."
        in state.message
    )
    assert "Not run, because they need a failed one: evaluate-diffusion@20, compare, register, report." in state.message
    assert starts(log).count("train-diffusion:20") == 1
    assert (scratch / "reports/diffusion/T10/metrics.json").exists()
    assert "train-transformer" in starts(log)


@pytest.mark.slow
def test_broken_child_is_tried_again(log, monkeypatch):
    monkeypatch.setenv("SCRATCH_BREAK", "train-diffusion:20")
    state = sweep(return_state=True)
    assert state.is_completed(), state.message
    assert starts(log).count("train-diffusion:20") == 2


def test_other_parameters_run_as_an_experiment_and_leave_the_workspace_clean(scratch: Path, log: Path):
    before = git(scratch, "status", "--porcelain", "--ignored")
    state = sweep(timesteps=(5,), sampling_steps=(1, 2), seed=7, return_state=True)
    assert state.is_completed(), state.message
    changed = set(git(scratch, "status", "--porcelain", "--ignored").splitlines()) - set(before.splitlines())
    assert changed <= {"!! .history/", "!! .prefect/", "!! .dvc/cache/"}
    assert not list((scratch / ".prefect/copies").iterdir())
    (name,) = dvc(scratch, "exp", "list", "--name-only").split()
    assert f"dvc exp apply {name}" in state.message

    ran = len(starts(log))
    git(scratch, "checkout", "--quiet", name_ref(scratch, name), "--", "params.yaml", "dvc.lock")
    dvc(scratch, "checkout", "evaluate-diffusion@5")
    assert (scratch / "reports/diffusion/T5/metrics.json").exists()
    assert "timesteps: [5]" in (scratch / "params.yaml").read_text()
    dvc(scratch, "repro", "evaluate-diffusion")
    assert len(starts(log)) == ran


def test_train_then_evaluate_then_report_each_do_their_part_only(scratch: Path, log: Path):
    assert train("transformer", return_state=True).is_completed()
    assert starts(log) == ["prepare", "train-transformer"]
    assert train(timesteps=(10, 20), return_state=True).is_completed()
    assert sorted(starts(log)[2:]) == ["prepare", "train-diffusion:10", "train-diffusion:20"]
    assert evaluate(return_state=True).is_completed()
    assert sorted(starts(log)[5:]) == ["evaluate-diffusion:10", "evaluate-diffusion:20", "feature-net"]
    state = report(return_state=True)
    assert state.is_completed(), state.message
    assert starts(log)[8:] == ["compare", "report"]
    assert "Not on it, for it was not made with these parameters: register." in state.message
    assert "the report of [10, 20] with T=10, T=20" in (scratch / "reports/index.html").read_text()
    assert "register" not in (scratch / "dvc.lock").read_text()
    assert pipeline(return_state=True).is_completed()
    assert starts(log)[10:] == ["compare", "register", "report"]
    assert report(return_state=True).is_completed()
    assert len(starts(log)) == 13
    assert "up to date" in dvc(scratch, "status")


def test_report_of_an_experiment_comes_from_the_cache_and_stays_readable(scratch: Path, log: Path, monkeypatch):
    monkeypatch.setenv("STEPLADDER_REPORTS_PAGE", "http://127.0.0.1:1234")
    assert pipeline(timesteps=(5,), sampling_steps=(1,), return_state=True).is_completed()
    (name,) = dvc(scratch, "exp", "list", "--name-only").split()
    page, ran, began = scratch / "reports/experiments" / name / "index.html", len(starts(log)), time.time()
    assert "the report of [5]" in page.read_text()
    page.unlink()

    state = report(name, return_state=True)
    assert state.is_completed(), state.message
    assert "the report of [5]" in page.read_text()
    assert len(starts(log)) == ran
    address = f"http://127.0.0.1:1234/experiments/{name}/index.html"
    assert artifacts_since(began)["report-report"] == f"[the report]({address})"
    assert "no DVC experiment 'other'; there are: " + name in report("other", return_state=True).message


@pytest.mark.slow
def test_failed_experiment_is_not_kept_and_is_cheap_to_run_again(scratch: Path, log: Path, monkeypatch):
    monkeypatch.setenv("SCRATCH_REFUSE", "train-diffusion:5")
    state = sweep(timesteps=(3, 5), sampling_steps=(1,), return_state=True)
    assert state.is_failed()
    assert dvc(scratch, "exp", "list", "--name-only").split() == []
    monkeypatch.delenv("SCRATCH_REFUSE")
    assert sweep(timesteps=(3, 5), sampling_steps=(1,), return_state=True).is_completed()
    assert starts(log).count("train-diffusion:3") == 1


@pytest.mark.slow
def test_uncommitted_code_is_part_of_an_experiment(scratch: Path, log: Path):
    steps = scratch / "steps.py"
    steps.write_text(steps.read_text().replace("step 1 of 1", "step one of one"))
    assert sweep(timesteps=(5,), sampling_steps=(1,), return_state=True).is_completed()
    (name,) = dvc(scratch, "exp", "list", "--name-only").split()
    assert "step one of one" in git(scratch, "show", f"{name_ref(scratch, name)}:steps.py")
    assert "step one of one" in steps.read_text()


def artifacts_since(began: float) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return {a.key: a.data for a in client.read_artifacts() if a.created.timestamp() >= began}


def name_ref(scratch: Path, name: str) -> str:
    refs = git(scratch, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    return next(ref for ref in refs if ref.endswith(name))


@pytest.mark.slow
def test_two_experiments_at_once_share_the_slots_and_what_they_have_in_common(scratch: Path, log: Path, prefect_api):
    environment = os.environ | {"PREFECT_API_URL": prefect_api, "PYTHONPATH": str(ROOT), "SCRATCH_SECONDS": "1"}
    code = "import sys; from pipelines.sweep import sweep; sweep(timesteps=(int(sys.argv[1]), 9), sampling_steps=(1,))"
    runs = [subprocess.Popen([sys.executable, "-c", code, t], cwd=scratch, env=environment) for t in ("6", "7")]
    assert [run.wait(200) for run in runs] == [0, 0]
    assert {"train-diffusion:6", "train-diffusion:7", "train-diffusion:9"} <= set(starts(log))
    assert most_at_once(log) <= 2
    assert len(dvc(scratch, "exp", "list", "--name-only").split()) == 2
    assert git(scratch, "status", "--porcelain") == ""


def test_impossible_combination_fails_the_run_with_a_sentence(log: Path):
    state = sweep(timesteps=(4,), return_state=True)
    assert state.is_failed()
    assert "sampling_steps has S=5, more than the largest T=4" in state.message
    assert starts(log) == []


def test_unreadable_params_fail_the_run_with_a_sentence(scratch: Path):
    (scratch / "params.yaml").write_text("sweep: {timestep: [1]}\n")
    state = sweep(return_state=True)
    assert state.is_failed()
    assert "did you mean sweep.timesteps?" in state.message
