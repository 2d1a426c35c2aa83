import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import experiments
from stepladder.errors import UserError
from stepladder.params import build, load
from tests.pipelines.project import ROOT, dvc, git

PARAMS = build({"sweep": {"timesteps": [7], "sampling_steps": [2]}})


def test_copy_has_uncommitted_changes_new_parameters_and_the_projects_cache(scratch: Path):
    (scratch / "steps.py").write_text("changed")
    (scratch / "new.py").write_text("added")
    git(scratch, "add", "new.py")
    git(scratch, "rm", "--quiet", "--cached", ".dvcignore")
    (scratch / ".dvcignore").unlink()
    before = git(scratch, "status", "--porcelain")
    with experiments.copy(scratch, "a-run", PARAMS) as workspace:
        assert (workspace / "steps.py").read_text() == "changed"
        assert (workspace / "new.py").exists()
        assert not (workspace / ".dvcignore").exists()
        assert load(workspace / "params.yaml") == PARAMS
        assert dvc(workspace, "cache", "dir").strip() == str(scratch / ".dvc/cache")
        assert git(workspace, "rev-parse", "HEAD") == git(scratch, "rev-parse", "HEAD")
        assert git(scratch, "status", "--porcelain") == before
    assert not workspace.exists()


def test_copy_of_a_killed_run_is_removed_by_the_next_and_a_living_ones_is_not(scratch: Path):
    code = "import sys, os; from pathlib import Path; from pipelines import experiments; from stepladder.params import Params\n"
    code += "with experiments.copy(Path.cwd(), 'killed', Params()): print('there', flush=True); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], cwd=scratch, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"})
    home = scratch / ".prefect/copies"
    assert len([f for f in home.iterdir() if f.is_dir()]) == 1
    with experiments.copy(scratch, "first", PARAMS) as first, experiments.copy(scratch, "second", PARAMS) as second:
        assert sorted(f.name for f in home.iterdir() if f.is_dir()) == sorted([first.name, second.name])


def test_changed_times_alone_are_no_change(scratch: Path):
    for file in scratch.glob("*.*"):
        file.touch()
    with experiments.copy(scratch, "a-run", PARAMS) as workspace:
        assert git(workspace, "status", "--porcelain").split() == ["M", "params.yaml"]


def test_no_commit_to_start_from_is_a_sentence(tmp_path: Path):
    with pytest.raises(UserError, match=r"starts from a git commit, .* has none; run `git init`"):
        experiments.free_name(tmp_path, "a-run")


def test_names_are_such_as_dvc_admits_and_free(scratch: Path):
    assert experiments.free_name(scratch, "Ada's run: T=10..20") == "Ada-s-run-T-10-20"
    head = git(scratch, "rev-parse", "HEAD").strip()
    git(scratch, "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/a-run", head)
    assert experiments.free_name(scratch, "a-run") == "a-run-2"
