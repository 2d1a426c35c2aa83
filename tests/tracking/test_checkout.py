"""A checkout of the project as it was: its code, its uncommitted changes, and its data from wherever they still are."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stepladder import lineage, project
from stepladder.data.card import content_hash
from stepladder.errors import UserError
from stepladder.params import Params
from stepladder.tracking import checkout
from tests.registered import git


def capture(folder: Path) -> Path:
    """The lineage of a training that would start here now."""
    lineage.capture(folder, Params())
    (folder / lineage.ENVIRONMENT).write_text(json.dumps({"threads": 1, "world_size": 1}))
    return folder


@pytest.fixture
def repository(fresh) -> Path:
    folder = fresh / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / ".gitignore").write_text("/data\n")
    (folder / "src" / "known.py").write_text("first = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a project")
    return folder


def test_uncommitted_changes_are_brought_along_and_git_stays_as_it_is(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    (repository / "src" / "known.py").write_text("first = 2\n")
    (repository / "src" / "new.py").write_text("second = 3\n")
    (repository / "notes.txt").write_text("of no module\n")
    status = git(repository, "status", "--porcelain")
    origin = capture(tmp_path / "origin")
    assert git(repository, "status", "--porcelain") == status
    made = checkout.make(git(repository, "rev-parse", "HEAD"), origin, tmp_path / "made", print)
    assert (made.folder / "src" / "known.py").read_text() == "first = 2\n"
    assert (made.folder / "src" / "new.py").read_text() == "second = 3\n"
    assert not (made.folder / "notes.txt").exists()
    assert made.environment["PYTHONPATH"].startswith(str(made.folder / "src"))
    assert git(repository, "status", "--porcelain") == status
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_project_within_a_repository(repository, tmp_path, monkeypatch):
    inner = repository / "inner"
    inner.mkdir()
    (inner / "dvc.yaml").write_text("stages: {}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "a project within")
    monkeypatch.chdir(inner)
    (inner / "dvc.yaml").write_text("stages: {}  # changed\n")
    origin = capture(tmp_path / "origin")
    made = checkout.make(git(inner, "rev-parse", "HEAD"), origin, tmp_path / "made", print)
    assert made.folder == tmp_path / "made" / "inner"
    assert (made.folder / "dvc.yaml").read_text() == "stages: {}  # changed\n"


def test_another_commit_in_the_folder_is_not_written_over(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(repository)
    first = git(repository, "rev-parse", "HEAD")
    origin = capture(tmp_path / "origin")
    checkout.make(first, origin, tmp_path / "made", print)
    checkout.make(first, origin, tmp_path / "made", print)
    git(repository, "commit", "-q", "--allow-empty", "-m", "another")
    with pytest.raises(UserError, match="holds another commit than"):
        checkout.make(git(repository, "rev-parse", "HEAD"), origin, tmp_path / "made", print)


@pytest.mark.slow
def test_data_come_from_the_cache_then_from_the_remote_and_are_never_taken_for_others(
    repository, tmp_path, monkeypatch
):
    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=repository, check=True, capture_output=True)

    def restored(name: str, wanted: str) -> list[str]:
        said: list[str] = []
        made = checkout.make(commit, origin, tmp_path / name, said.append)
        made.restore("images", wanted)
        assert (made.folder / "data" / "images" / "a.txt").read_text() == "pictures"
        return said

    monkeypatch.chdir(repository)
    data = repository / "data" / "images"
    data.mkdir(parents=True)
    (data / "a.txt").write_text("pictures")
    wanted = content_hash(data)
    (data / "card.json").write_text(json.dumps({"content_hash": wanted}))
    dvc("init", "-q")
    dvc("stage", "add", "-q", "-n", "prepare", "-o", "data/images", "false")
    dvc("commit", "-q", "-f")
    dvc("remote", "add", "-q", "-d", "elsewhere", str(tmp_path / "remote"))
    git(repository, "add", "dvc.yaml", "dvc.lock", ".dvc")
    git(repository, "commit", "-qm", "data")
    dvc("push", "-q")
    origin, commit = capture(tmp_path / "origin"), git(repository, "rev-parse", "HEAD")
    assert restored("by-cache", wanted) == ["data: data/images from DVC's cache"]
    shutil.rmtree(repository / ".dvc" / "cache")
    assert restored("by-remote", wanted) == ["data: data/images from DVC's remote"]
    assert project.git_diff() == b""
    shutil.rmtree(tmp_path / "remote")
    shutil.rmtree(repository / ".dvc" / "cache")
    with pytest.raises(UserError, match="preparing it again gives other data"):
        restored("prepared", "0" * 64)
