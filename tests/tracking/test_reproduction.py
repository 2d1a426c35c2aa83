"""Registered models made again, by the real command, and what it says where that cannot be."""

import json
import re

import pytest

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
    return {str(f): f.read_bytes() for f in kept if f.suffix not in (".lock", ".pyc") and "mlflow.db" not in f.name}


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


def test_a_transformer_is_made_again_bit_for_bit(project):
    said = run(project, "reproduce", TRANSFORMER)
    assert "weights are bit-identical." in said
    assert "finished reproduction" in run(project, "reproduce", TRANSFORMER, code=2)


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
