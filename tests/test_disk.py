import json
import os
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from stepladder import cli, disk, history
from stepladder.errors import UserError

SIZE = 1000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", disk.BUDGET):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    return tmp_path


def made(folder: str, age: float, **files: str) -> Path:
    place = Path(folder)
    place.mkdir(parents=True)
    for name, text in {"last.ckpt": "x" * SIZE, **files}.items():
        (place / name).write_text(text)
        os.utime(place / name, (1e9 - age, 1e9 - age))
    return place


def prune(allowed: int, registered=(), dry: bool = False) -> list[str]:
    lines: list[str] = []
    disk.prune(allowed, lines.append, lambda: set(registered), dry=dry)
    return lines


def test_the_oldest_goes_first_and_no_more_than_has_to():
    old, new, older = (made(f".checkpoints/{name}", age) for name, age in (("b", 20), ("c", 10), ("a", 30)))
    lines = prune(2 * SIZE)
    assert (older.exists(), old.exists(), new.exists()) == (False, True, True)
    assert "removes" in lines[1]
    assert ".checkpoints/a" in lines[1]
    assert len(prune(2 * SIZE)) == 1, "nothing more to say"


def test_unfinished_ones_go_before_what_sweeps_keep():
    model, checkpoint = made("sweeps/lr/models/k1", 100), made(".checkpoints/a", 1)
    prune(SIZE)
    assert model.exists()
    assert not checkpoint.exists()
    prune(0)
    assert not model.exists()


def trained(key: str, run_id: str) -> dict[str, str]:
    """The file in a model's folder that leads to its history, which is made too."""
    history.folder_of(key).mkdir(parents=True)
    (history.folder_of(key) / history.RUN).write_text(json.dumps({"run_id": run_id}))
    return {history.TRAINING: json.dumps({"key": key, "figures": {}})}


def test_what_is_in_use_named_by_dvc_or_registered_stays(here):
    used, named = made(".checkpoints/a", 50), made(".checkpoints/b", 40)
    locked_by_dvc = made("sweeps/lr/models/k1", 30)
    registered = made("sweeps/lr/models/k2", 20, **trained("k2", "r1"))
    other = made("sweeps/lr/models/k3", 10, **trained("k3", "r2"))
    Path(".checkpoints/b.dvc").write_text(yaml.safe_dump({"outs": [{"path": "b"}]}))
    stages = {"keep": {"outs": [{"path": str(locked_by_dvc)}]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    with FileLock(used.with_suffix(".lock")):
        lines = prune(0, registered={"r1"})
    assert all(folder.exists() for folder in (used, named, locked_by_dvc, registered))
    assert not other.exists()
    said = "\n".join(lines)
    for why in ("in use", "a DVC file names it", "registered", "nothing else may go"):
        assert why in said


def test_a_dry_run_says_the_same_and_removes_nothing():
    folders = [made(f".checkpoints/{name}", age) for age, name in enumerate("abc")]
    lines = prune(0, dry=True)
    assert sum("would remove" in line for line in lines) == 3
    assert all(folder.exists() for folder in folders)
    assert not list(Path(".checkpoints").glob("*.lock"))


@pytest.mark.parametrize("given", ["many", "-1", "inf", "nan"])
def test_a_budget_that_is_none_is_refused(given, monkeypatch):
    monkeypatch.setenv(disk.BUDGET, given)
    with pytest.raises(UserError, match="STEPLADDER_DISK_GB"):
        disk.budget()


def test_the_command(capsys, monkeypatch):
    folder = made(".checkpoints/a", 1)
    assert cli.main(["prune"]) == 2
    assert "no disk budget" in capsys.readouterr().err
    monkeypatch.setenv(disk.BUDGET, "1")
    assert cli.main(["prune"]) == 0
    assert folder.exists()
    assert cli.main(["prune", "--gb", "0"]) == 0
    assert not folder.exists()
    assert "removes  unfinished training, .checkpoints/a" in capsys.readouterr().out
