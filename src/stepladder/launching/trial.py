"""A short trial of a training: the real worker on the real data for a few steps, to estimate the cost of all steps."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepladder import slots
from stepladder.errors import UserError
from stepladder.journal.record import Line, read
from stepladder.params import Params, build, flatten, merge
from stepladder.processes import World, command
from stepladder.training.families import FAMILIES

if TYPE_CHECKING:
    from stepladder.training.worker import Spec

STEPS = 30  # the journal has a line every ten: the first ten are warm-up
LONGEST = 180.0
BYTES_A_PARAMETER = 16  # of a checkpoint: weight, both moments of Adam, and the average
FREE = (
    "learning_rate",
    "schedule",
    "warmup_steps",
    "weight_decay",
    "beta2",
    "gradient_clip",
    "steps",
    "validate_every",
)


@dataclass(frozen=True)
class Cost:
    """The cost of a training on this machine: seconds to start and end, per step and per validation; bytes of memory and disk."""

    around: float
    step: float
    validation: float
    memory: int
    gpu_memory: int
    checkpoint: int
    model: int

    def seconds(self, steps: int, validate_every: int) -> float:
        """Seconds for ``steps`` steps with a validation after every ``validate_every``."""
        return self.around + steps * self.step + steps // validate_every * self.validation


def cost_key(family: str, params: Params, timesteps: int | None) -> str:
    """A text that is equal for trainings with the same cost per step."""
    leaves = {
        key: value
        for key, value in flatten(params).items()
        if FAMILIES[family].stage.is_read(key) and key != "seed" and key.rpartition(".")[2] not in FREE
    }
    return json.dumps([family, timesteps, leaves], sort_keys=True)


def measure(family: str, params: Params, data: Path, timesteps: int | None) -> Cost:
    """Train for ``STEPS`` steps in a temporary folder, and return the cost.

    Raises:
        UserError: the training is refused, fails, or does not get far enough in three minutes.
    """
    with tempfile.TemporaryDirectory(prefix="stepladder-trial-") as temporary, slots.hold(f"trial of {family}") as held:
        folder = Path(temporary)
        spec: Spec = {
            "family": family, "name": f"trial of {family}", "params": _short(family, params).model_dump(mode="json"),
            "timesteps": timesteps, "steps": STEPS, "data": str(data.resolve()), "header": {},
        }  # fmt: skip
        (folder / "spec.json").write_text(json.dumps(spec))
        environment = os.environ | held.environment | {"STEPLADDER_CHECKPOINT_SECONDS": "1e9"}
        with (folder / "log").open("wb") as log:
            start = time.time()
            world = World(slots.devices(), nodes="1", node=0, rendezvous="", restarts=0)
            process = subprocess.Popen(
                command(folder, world, "trial"), env=environment, stdout=log, stderr=log, pass_fds=held.handles
            )
            memory = _wait(process)
            wall = time.time() - start
        lines = read(folder / "journal.jsonl") if (folder / "journal.jsonl").exists() else []
        times = {line["step"]: line["time"] for line in lines if "train/loss" in str(line.get("metrics", ""))}
        if len(times) < 2:
            refusal = folder / "error.txt"
            last = (
                refusal.read_text()
                if refusal.exists()
                else ((folder / "log").read_text().strip() or "?").splitlines()[-1]
            )
            raise UserError(f"The trial of {family} did not get to {STEPS} steps: {last}")
        first, final = min(times), max(times)
        step = (times[final] - times[first]) / (final - first)
        finished = (folder / "model" / "figures.json").exists()
        validation = max(0.0, lines[-1]["time"] - times[final]) if finished else 0.0
        figures = json.loads((folder / "model" / "figures.json").read_text()) if finished else {}
        parameters = figures.get("trained_parameters", figures.get("parameters", 0))
        return Cost(
            around=max(0.0, wall - final * step - validation) if finished else times[first] - start - first * step,
            step=step,
            validation=validation,
            memory=memory * slots.devices(),
            gpu_memory=_gpu_memory(lines),
            checkpoint=int(parameters * BYTES_A_PARAMETER),
            model=sum(f.stat().st_size for f in (folder / "model").rglob("*") if f.is_file()),
        )


def _short(family: str, params: Params) -> Params:
    """``params`` with ``STEPS`` steps and one validation after them, in the section of ``family``'s training."""
    values = params.model_dump(mode="json")
    for key in flatten(params):
        if key.rpartition(".")[2] in ("steps", "validate_every") and FAMILIES[family].stage.is_read(key):
            change: Any = STEPS
            for part in reversed(key.split(".")):
                change = {part: change}
            values = merge(values, change)
    return build(values)


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the process, or end it when it takes too long; returns the peak memory in bytes of it or one of its children."""
    deadline = time.monotonic() + LONGEST
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return int(usage.ru_maxrss) * 1024
        if time.monotonic() > deadline:
            os.kill(process.pid, signal.SIGTERM)
            deadline = math.inf
        time.sleep(0.05)


def _gpu_memory(lines: list[Line]) -> int:
    name = "system/gpu_0_memory_usage_megabytes"
    return int(1e6 * max((line["metrics"].get(name, 0.0) for line in lines if "metrics" in line), default=0.0))
