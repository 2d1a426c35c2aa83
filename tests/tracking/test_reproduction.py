"""Registered models made again, by the real command, and what it says where that cannot be."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from stepladder import history, lineage
from stepladder.tracking import fetch, reproduction
from tests import registered
from tests.registered import git, run

pytestmark = pytest.mark.slow
DIFFUSION, TRANSFORMER = "models:/diffusion-digits@champion", "models:/transformer-names@champion"


@pytest.fixture(scope="module")
def project():
    return registered.project()


def state(project) -> dict[str, bytes]:
    """Everything in the workspace but git's own files and the reproductions."""
    files = [file for file in project.rglob("*") if file.is_file()]
    kept = [f for f in files if not {".git", ".reproductions"} & set(f.relative_to(project).parts)]
    mlflows = ("mlflow.db", "registered_model_meta")  # what MLflow itself writes when a model is fetched
    return {
        str(f): f.read_bytes() for f in kept if f.suffix not in (".lock", ".pyc") and not f.name.startswith(mlflows)
    }


def test_a_diffusion_model_is_made_again_bit_for_bit_and_the_workspace_stays_as_it_is(project, tmp_path):
    before, status = state(project), git(project, "status", "--porcelain")
    said = run(project, "reproduce", DIFFUSION, "--out", str(tmp_path / "again"), "--evaluate")
    assert re.search(r"diffusion-digits version 1, .*: all [\d,]+ weights are bit-identical\.", said), said
    assert re.search(r"frechet: .* then, .* now; difference .*: within the interval", said), said
    assert state(project) == before
    assert git(project, "status", "--porcelain") == status
    found = json.loads((tmp_path / "again" / "reproduction.json").read_text())
    assert found["identical"]
    assert found["environment"] == []
    assert found["figures"]["frechet"]["then"] == found["figures"]["frechet"]["now"]
    assert (tmp_path / "again" / "notes.txt").read_text() == "as committed\nand a line that was not\n"


def test_a_transformer_is_made_again_and_a_difference_is_measured(project, tmp_path, monkeypatch):
    out = tmp_path / "again"
    said = run(project, "reproduce", TRANSFORMER, "--out", str(out))
    assert "weights are bit-identical." in said
    assert "finished reproduction" in run(project, "reproduce", TRANSFORMER, "--out", str(out), code=2)

    # As if it had been registered from another kind of machine: last bits differ. It goes on with the training that is there.
    (out / reproduction.RESULT).unlink()
    folder, settings = in_project(project, monkeypatch, lambda: fetch.fetch(TRANSFORMER))
    other = shutil.copytree(folder, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: weight * (1 + 1e-6) for name, weight in weights.items()}, other / "model.safetensors")
    monkeypatch.setattr(reproduction, "fetch", lambda name: (other, settings))
    heard: list[str] = []
    found = in_project(project, monkeypatch, lambda: reproduction.reproduce(TRANSFORMER, out, log=heard.append))
    assert not any("step 8/8" in line for line in heard), "it is not trained a third time"
    assert not found.identical
    assert 0 < found.largest < 1e-4
    assert found.environment == ()
    chrf = found.figures["chrf"]
    assert chrf.then == chrf.now
    assert chrf.low <= 0 <= chrf.high
    assert found.succeeded
    assert re.search(
        r"the weights differ, by \S+ at most .*\nNothing that is recorded of the environment differs\.", str(found)
    )
    worse = replace(found, figures={"chrf": replace(chrf, low=0.1)})
    assert not worse.succeeded
    assert "more than the interval" in str(worse)


def in_project(project, monkeypatch, do):
    monkeypatch.chdir(project)
    for name in ("MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return do()


def test_show_says_where_a_model_comes_from(project):
    said = run(project, "show", DIFFUSION)
    lines = dict(re.findall(r"^(\S.{11}) (.*)$", said, re.M))
    lines = {key.strip(): value for key, value in lines.items()}
    assert lines["model"].startswith("diffusion-digits version 1 @challenger @champion, registered 20")
    assert f"commit {git(project, 'rev-parse', 'HEAD')}, and uncommitted changes (origin/code.diff)" in lines["code"]
    assert lines["flow run"] == "flow-run-of-the-tests"
    assert lines["trained by"].startswith("`stepladder train diffusion --timesteps 6` of ")
    assert "diffusion.training.steps=12" in lines["parameters"]
    assert "torch 2." in lines["environment"]
    assert "versions" not in lines, "they are those installed"
    made = history.training(project / "models/diffusion/T6")["environment"]
    assert made == lineage.deciding()
    assert re.search(r"frechet \d", lines["figures"])
    for file in ("params.yaml", "code.diff", "environment.json", "packages.txt"):
        assert f"origin/{file}" in lines["kept there"]
    assert lines["sweep"]


def test_what_cannot_be_made_again_is_said_in_a_sentence(project, tmp_path):
    assert "not in the registry; of diffusion-digits it has: 1, @challenger, @champion." in run(
        project, "reproduce", "models:/diffusion-digits/7", code=2
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert "is not empty; remove it, or name another" in run(
        project, "reproduce", DIFFUSION, "--out", str(tmp_path / "full"), code=2
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dvc.yaml").write_text("stages: {}\n")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlruns/mlflow.db"}
    assert "not in a git repository" in run(elsewhere, "reproduce", DIFFUSION, code=2, **store)
    git(elsewhere, "init", "-q")
    git(elsewhere, "add", ".")
    git(elsewhere, "commit", "-qm", "another project")
    assert "is not in this repository; fetch it" in run(elsewhere, "reproduce", DIFFUSION, code=2, **store)
