"""What one clone has made and pushed, another pulls: it prepares and trains nothing, and notes where its own source is."""

import shutil
from pathlib import Path

import pytest

from tests.deploy import servers
from tests.pipelines import project

STAGES = ("train-diffusion@10", "prepare@images", "source@images")


@pytest.mark.slow
@pytest.mark.parametrize("committed", [True, False], ids=["dvc.lock is committed", "dvc.lock is not committed"])
def test_another_clone_pulls_and_trains_nothing(tmp_path: Path, committed: bool):
    first, second, remote = tmp_path / "first", tmp_path / "second", tmp_path / "remote"
    own = servers.environment(PYTHONPATH="src", STEPLADDER_SLOTS_FOLDER=str(tmp_path / "slots"))

    def do(folder: Path, command: str) -> str:
        return servers.run(command.split(), folder, own)

    project.make_real(first, steps=4)
    do(first, f"dvc remote add --default team {remote}")
    do(first, f"dvc repro {STAGES[0]}")
    if committed:
        do(first, "git add dvc.lock .dvc/config")
    else:
        do(first, "git add .dvc/config")
    do(first, "git commit --quiet --message remote")
    do(first, "dvc push --run-cache")

    do(tmp_path, f"git clone --quiet {first} {second}")
    shutil.move(first, tmp_path / "gone")  # nothing comes from there
    do(second, "dvc pull --run-cache --allow-missing" if committed else "dvc fetch --run-cache")
    locked = (second / "dvc.lock").read_bytes() if committed else None
    said = do(second, f"dvc repro --pull {STAGES[0]}") + do(second, f"dvc repro {STAGES[0]}")
    ran = {line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")}
    assert ran == {"source@images", "own-code"}, said  # which make links into this machine's own files
    assert locked in (None, (second / "dvc.lock").read_bytes()), "what it notes is what the first clone noted"
    assert "up to date" in do(second, f"dvc status {' '.join(STAGES)}")
    assert "Running stage" not in do(second, f"dvc repro {STAGES[0]}")
    made = "models/diffusion/T10/model.safetensors"
    assert (second / made).read_bytes() == (tmp_path / "gone" / made).read_bytes()
    assert not (second / "mlruns").exists()
