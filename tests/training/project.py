"""A small real project in a folder, and the real command in it."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from stepladder import history
from stepladder.journal import record
from stepladder.params import Params, build, merge, render


def make(folder: Path, small: dict[str, Any]) -> Path:
    """A project whose parameters are the defaults but for ``small``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text(render(build(merge(Params().model_dump(mode="json"), small))))
    return folder


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what names another project; every step is a time for a checkpoint."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "MLFLOW_TRACKING_URI")}
    usual = {"STEPLADDER_TRACKING": "journal", "OMP_NUM_THREADS": "1", "STEPLADDER_CHECKPOINT_SECONDS": "0.2"}
    return kept | usual | extra


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stepladder", *arguments]


def run(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(**extra), capture_output=True, text=True, timeout=300
    )


def start(folder: Path, *arguments: str, **extra: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, its output in a pipe."""
    return subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def wait_for_steps(folder: Path, steps: int) -> Path:
    """Wait until a training in ``folder`` has journalled that many, and has a checkpoint; returns its state's folder."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for journal in folder.glob(".checkpoints/*/journal.jsonl"):
            reached = any(line.get("step", 0) >= steps for line in record.read(journal))
            if reached and journal.with_name("last.ckpt").exists():
                return journal.parent
        time.sleep(0.05)
    raise AssertionError("the training did not get that far")


def curve(model: Path, name: str = "train/loss") -> list[tuple[int, float]]:
    return [(line["step"], line["metrics"][name]) for line in history.curve(model) if name in line["metrics"]]


def weights(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "model.safetensors")


def figures(model: Path) -> dict[str, float]:
    found: dict[str, float] = history.training(model)["figures"]
    return found
