"""A real study in a clone: run two cells at once, again, with one arm changed, with another measure, with a cell that fails."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stepladder.params import build, render

pytestmark = pytest.mark.slow

TRAINING = {"steps": 6, "batch_size": 16, "warmup_steps": 2, "validate_every": 6}
TINY = {
    "feature_net": {"steps": 20, "width": 8},
    "sweep": {"timesteps": [4], "sampling_steps": [1, 2]},
    "diffusion": {"unet": {"channels": 8, "heads": 2}, "training": TRAINING},
    "vae": {"channels": 8, "training": TRAINING},
    "evaluation": {"samples": 40, "bootstrap": 10},
}
STUDY = {
    "question": "Does it run?",
    "seeds": [0, 1],
    "measures": ["frechet", "bits_per_dim"],
    "samplings": [{"sampler": "ddim", "steps": [1, 2]}],
    "arms": {"t4": {"timesteps": 4}, "vae": {"family": "vae"}},
    "contrasts": [{"claim": "It is better.", "this": {"arm": "t4"}, "against": {"arm": "vae"}}],
}


class Clone:
    """The project in a folder of its own, with commands run as its user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "DVC_ROOT")}
        tools = str(Path(sys.executable).parent)
        self.environment = kept | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "src"}

    def __call__(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == code, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def study(self, **changes: object) -> None:
        (self.folder / "studies" / "tiny").mkdir(parents=True, exist_ok=True)
        (self.folder / "studies" / "tiny" / "study.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))

    def trained(self) -> dict[str, int]:
        """When each cell's model was made."""
        models = self.folder.glob("studies/tiny/cells/*/model/model.safetensors")
        return {file.parts[-3]: file.stat().st_mtime_ns for file in models}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("study") / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    ).stdout
    for file in listed.splitlines():
        if Path(file).exists() and file != "dvc.lock" and not file.startswith("studies/"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / file)
    made = Clone(folder)
    (folder / "params.yaml").write_text(render(build(TINY)))
    made.study()
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"]):
        made("git", *command)
    made("stepladder", "study", "run", "tiny", "--jobs", "2")
    return made


def test_cells_page_and_history_are_there(clone: Clone):
    assert set(clone.trained()) == {"t4-0", "t4-1", "vae-0", "vae-1"}
    found = json.loads((clone.folder / "reports" / "studies" / "tiny" / "results.json").read_text())
    assert found["missing"] == []
    assert {(row["arm"], row["steps"]) for row in found["rows"]} == {("t4", 1), ("t4", 2), ("vae", 1)}
    for row in found["rows"]:
        assert row["figures"]["frechet"]["mean"] > 0
        assert row["figures"]["bits_per_dim"]["mean"] > 0
    distances = found["rows"][0]["figures"]["frechet"]["each"]
    assert distances["0"] != distances["1"], "seeds differ"
    assert found["timing"]["at_once"] == 2
    assert (clone.folder / "reports" / "studies" / "tiny" / "index.html").exists()
    history = clone(
        sys.executable, "-c",
        "from stepladder.tracking import store; c = store.client(); e = c.get_experiment_by_name('study-tiny-digits');"
        "print(sorted((r.info.run_name, r.data.tags['stepladder.study']) for r in c.search_runs([e.experiment_id])))",
    )  # fmt: skip
    assert (
        "[('t4 seed 0', 'tiny/t4'), ('t4 seed 1', 'tiny/t4'), ('vae seed 0', 'tiny/vae'), ('vae seed 1', 'tiny/vae')]"
        in history
    )


def test_the_project_itself_is_left_alone(clone: Clone):
    changed = clone("git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert {line.strip() for line in changed if line} == {
        "?? dvc.lock",
        "?? studies/tiny/dvc.lock",
        "?? studies/tiny/dvc.yaml",
    }
    assert not (clone.folder / "models" / "diffusion").exists()


def test_dvc_repro_is_the_same_command(clone: Clone):
    assert "up to date" in clone("dvc", "repro", "studies/tiny/dvc.yaml")


def test_one_changed_arm_trains_that_arm(clone: Clone):
    before = clone.trained()
    clone.study(seeds=[0], arms=STUDY["arms"] | {"vae": {"family": "vae", "set": {"vae.beta": 2.0}}})  # type: ignore[operator]
    clone("stepladder", "study", "stages", "tiny")
    clone("dvc", "repro", "studies/tiny/dvc.yaml")
    after = clone.trained()
    assert {cell for cell in before if before[cell] != after[cell]} == {"vae-0"}


def test_another_measure_judges_again_and_trains_nothing(clone: Clone):
    arms = STUDY["arms"] | {"vae": {"family": "vae", "set": {"vae.beta": 2.0}}}  # type: ignore[operator]
    before = clone.trained()
    clone.study(seeds=[0], arms=arms, measures=["frechet"])
    assert "it is judged again" in clone("stepladder", "study", "run", "tiny")
    assert clone.trained() == before
    metrics = json.loads((clone.folder / "studies" / "tiny" / "cells" / "t4-0" / "metrics.json").read_text())
    assert metrics["bits_per_dim"] is None


def test_a_cell_that_fails_stops_no_other(clone: Clone):
    wild = {
        "diffusion": {"variance": "learned_range", "loss": "vlb"},
        "diffusion.training": {"steps": 30, "learning_rate": 1.0, "warmup_steps": 0, "gradient_clip": 0},
    }
    arms = {"wild": {"timesteps": 20, "set": wild}, "new": {"timesteps": 3}}
    clone.study(arms=arms, contrasts=[], seeds=[0])
    said = clone("stepladder", "study", "run", "tiny", code=1)
    assert "wild-0 FAILED" in said
    assert "new-0" in clone.trained()
    text = (clone.folder / "reports" / "studies" / "tiny" / "index.html").read_text()
    assert re.search(r"Failed: wild-0: diffusion T=20 ended at step \d+ of 30, where .* no model was made", text)
    assert not (clone.folder / "studies/tiny/cells/wild-0/model").exists()
