"""A small real project for the flows: git, DVC and the stages of ``scratch/dvc.yaml``."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from stepladder.params import build, load, render

SCRATCH = Path(__file__).parent / "scratch"
ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def make(folder: Path) -> Path:
    """A committed project in ``folder`` with T of 10 and 20, S of 1 and 5."""
    shutil.copytree(SCRATCH, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "presets", folder / "presets")
    (folder / "params.yaml").write_text(render(load(ROOT / "params.yaml", overrides=SMALL)), encoding="utf-8")
    (folder / ".gitignore").write_text("/.prefect/\n/.history/\n/data\n/models\n/reports\n/mlruns\n")
    return _commit(folder)


def _commit(folder: Path) -> Path:
    git(folder, "init", "--quiet")
    git(folder, "config", "user.email", "someone@example.org")
    git(folder, "config", "user.name", "Someone")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "a project")
    return folder


def make_real(folder: Path, steps: int, pipelines: bool = False) -> Path:
    """A committed project in ``folder`` with the repository's own stages and code: one small diffusion model of T=10;
    with ``pipelines``, also its deployments.
    """
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("dvc.yaml", ".dvcignore"):  # a stage depends on folders, where Python leaves what it compiles
        shutil.copy(ROOT / name, folder)
    if pipelines:
        shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "prefect.yaml", folder)
    network = {"channels": 16, "channel_mult": [1, 2], "blocks": 1}
    training = {"steps": steps, "batch_size": 32, "warmup_steps": 5, "validate_every": steps}
    values = {"sweep": {"timesteps": [10], "sampling_steps": [1]}, "diffusion": {"unet": network, "training": training}}
    (folder / "params.yaml").write_text(render(build(values)), encoding="utf-8")
    (folder / ".gitignore").write_text(
        "/data\n/models\n/reports\n/mlruns\n/.checkpoints\n/.history\n/.prefect\n__pycache__\n"
    )
    return _commit(folder)


SMALL = ["sweep.timesteps=[10, 20]", "sweep.sampling_steps=[1, 5]"]


def git(folder: Path, *arguments: str) -> str:
    return _output(["git", *arguments], folder)


def dvc(folder: Path, *arguments: str) -> str:
    return _output(["dvc", *arguments], folder)


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def starts(log: Path) -> list[str]:
    return [event["stage"] for event in events(log) if event["event"] == "start"]


def most_at_once(log: Path) -> int:
    running, most = 0, 0
    for event in sorted(events(log), key=lambda e: e["time"]):
        running += 1 if event["event"] == "start" else -1
        most = max(most, running)
    return most


def _output(command: list[str], folder: Path) -> str:
    environment = os.environ | {"PATH": PATH, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
