"""A project of its own whose tiny models went the whole way: prepared, trained, judged, compared, registered; once a session."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stepladder.params import build, merge, render

TINY = {
    "feature_net": {"steps": 20, "width": 8},
    "sweep": {"timesteps": [6], "sampling_steps": [1, 3]},
    "diffusion": {
        "unet": {"channels": 8, "channel_mult": [1], "blocks": 1, "attention_resolutions": [], "heads": 2},
        "training": {"steps": 12, "batch_size": 16, "warmup_steps": 2, "validate_every": 6},
    },
    "text": {"limit": 400, "vocab_size": 200},
    "transformer": {"d_model": 16, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1,
                    "training": {"steps": 8, "warmup_steps": 2, "validate_every": 4}},
    "decoding": {"beam_size": 2, "max_length": 12},
    "evaluation": {"samples": 60, "bootstrap": 20, "likelihood_images": 0},
    "promotion": {"floor_ratio": 1e6, "coverage": 0.0, "accuracy": 0.0, "above_baseline": False},  # it learns nothing
}  # fmt: skip
STEPS = (
    "prepare images", "prepare text", "train feature-net", "train diffusion --timesteps 6", "train transformer",
    "evaluate diffusion --timesteps 6", "evaluate transformer", "compare", "register",
)  # fmt: skip


def environment(**variables: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "STEPLADDER_", "DVC_", "PREFECT_"))}
    kept["STEPLADDER_SLOTS_FOLDER"] = str(Path(tempfile.gettempdir()) / f"registered-slots-{os.getpid()}")
    return kept | {"OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"} | variables


def run(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """What ``stepladder ARGUMENTS`` prints in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-m", "stepladder", *arguments],
        cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def write(folder: Path, **changes: Any) -> None:
    (folder / "params.yaml").write_text(render(build(merge(TINY, changes))))


def git(folder: Path, *arguments: str) -> str:
    named = ["git", "-c", "user.name=someone", "-c", "user.email=someone@example.org", *arguments]
    return subprocess.run(named, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@functools.cache
def project() -> Path:
    """Its folder, a git repository without DVC, gone when the tests end. What a test changes there, it puts back."""
    temporary = tempfile.mkdtemp(prefix="registered-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    folder = Path(temporary) / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / ".gitignore").write_text("/data\n/models\n/reports\n/mlruns\n/.checkpoints\n/.reproductions\n")
    (folder / "notes.txt").write_text("as committed\n")
    write(folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a project")
    (folder / "notes.txt").write_text("as committed\nand a line that was not\n")
    script = f"from stepladder.cli import main\nfor step in {STEPS}: assert main(step.split()) == 0, step"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder, env=environment(PREFECT__FLOW_RUN_ID="flow-run-of-the-tests"), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder
