"""Starts a training as a process of its own, forwards its journal, and puts the finished model in place.

State lives in ``.checkpoints/KEY/``, KEY being the content of (spec, data, code): whoever launches the same training
again goes on where it stopped. What does not change the result comes from the environment: ``STEPLADDER_DEVICES``
(ranks, default 1), ``STEPLADDER_CHECKPOINT_SECONDS``, ``STEPLADDER_TRACKING``, ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stepladder import disk, project, slots
from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import Params, flatten
from stepladder.slots import Held
from stepladder.tracking import lineage, store
from stepladder.tracking.follow import Follower
from stepladder.training.families import FAMILIES

FREE_BYTES = 300_000_000
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Child:
    """Of a sweep: the sweep's name, what it sweeps (for people), and this child's name in it."""

    sweep: str
    space: dict[str, str]
    name: str


def train(
    family: str,
    params: Params,
    data: Path,
    out: Path,
    *,
    timesteps: int | None = None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> int:
    """Train ``family`` on the prepared ``data`` and put the model in ``out``; returns the exit code.

    ``study``: the name of the study and of its arm that this training is for; ``child``: which child of a sweep it is.

    Raises ``UserError`` before any work when the tracking store that the environment names does not answer, the disk
    is nearly full, or the same training already runs.
    """
    store.check()
    header = _header(family, params, data, timesteps, study, child)
    folder = project.checkpoints() / header["key"]
    folder.mkdir(parents=True, exist_ok=True)
    _check_disk(folder)
    name = family if timesteps is None else f"{family} T={timesteps}"
    with _alone(folder, header["run_name"]), slots.hold(f"train {name}") as held:
        if (allowed := disk.budget()) is not None:
            from stepladder.tracking import registry

            disk.prune(allowed, lambda line: print(f"disk: {line}", flush=True), registry.registered_runs)
        spec = {
            "family": family, "name": name, "params": params.model_dump(mode="json"), "timesteps": timesteps,
            "steps": FAMILIES[family].training(params).steps, "data": str(data.resolve()), "header": header,
        }  # fmt: skip
        (folder / "spec.json").write_text(json.dumps(spec, indent=2))
        if not (folder / "journal.jsonl").exists():  # else it goes on with what began elsewhere
            lineage.capture(folder / lineage.FOLDER, params)
        follower = Follower(folder / "journal.jsonl", header)
        refused = folder / "error.txt"
        refused.unlink(missing_ok=True)
        command = _command(folder)
        follower.start()
        code = _run(command, held)
        run = follower.finish({0: "FINISHED", 130: "KILLED", 143: "KILLED"}.get(code, "FAILED"))
        if refused.exists():
            raise UserError(refused.read_text())
        if code == 0:
            _finish(folder, out, header, run)
    return code


def identity(
    family: str,
    params: Params,
    data: Path,
    *,
    timesteps: int | None = None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> str:
    """The key of that training: equal exactly where spec, data and code are; a model's is in its ``run.json``."""
    return str(_header(family, params, data, timesteps, study, child)["key"])


def _finish(folder: Path, out: Path, header: dict[str, Any], run: dict[str, Any]) -> None:
    """Put the model with its history in ``out``, and remove the state."""
    model = folder / "model"
    figures = json.loads((model / "figures.json").read_text())
    (model / "figures.json").unlink()
    origin = {"git_commit": header["git_commit"], "key": header["key"], "data_hash": header["data"]["content_hash"]}
    (model / "run.json").write_text(json.dumps(run | origin | {"figures": figures}, indent=2) + "\n")
    for name in ("journal.jsonl", "previews", lineage.FOLDER):
        if (folder / name).exists():
            shutil.move(folder / name, model / name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        shutil.rmtree(out)
    shutil.move(model, out)
    shutil.rmtree(folder)


def _header(
    family: str,
    params: Params,
    data: Path,
    timesteps: int | None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> dict[str, Any]:
    card = read_card(data)
    leaves = flatten(params)
    relevant = {k: v for k, v in leaves.items() if k.split(".")[0] in FAMILIES[family].sections}
    content = [family, relevant, card["content_hash"], project.code_hash("data", "training", *FAMILIES[family].code)]
    if base := FAMILIES[family].base(params):  # what counts is which weights it starts from, not where they are
        content[1] = {k: v for k, v in relevant.items() if v != base} | {
            "base": project.file_hash(Path(base) / WEIGHTS)
        }
    experiment, run_name = f"{family}-{card['name']}", family if timesteps is None else f"T={timesteps}"
    sweep_key = _digest(*content) if timesteps is not None and not study else None
    if study:
        experiment, run_name = f"study-{study[0]}-{card['name']}", f"{study[1]} seed {params.seed}"
    if child:
        experiment, run_name = f"sweep-{child.sweep}-{card['name']}", child.name
        sweep_key = _digest("sweep", child.sweep, card["content_hash"])
    return {
        "family": family,
        "experiment": experiment,
        "run_name": run_name,
        "study": "/".join(study),
        "key": _digest(*content, timesteps, *study, *(["sweep", child.sweep] if child else [])),
        "sweep": {"name": child.sweep, "space": child.space} if child else None,
        "sweep_key": sweep_key,
        "params": relevant,
        "timesteps": timesteps,
        "seed": params.seed,
        "data": {"name": card["name"], "content_hash": card["content_hash"]},
        "git_commit": project.git_commit(),
        "git_dirty": project.git_dirty(),
        "dvc_lock": project.file_hash(project.root() / "dvc.lock"),
        "flow_run": lineage.flow_run(),
        "started": time.time(),
        "world_size": slots.devices(),
    }


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise UserError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free and a training needs {FREE_BYTES / 1e6:.0f} MB; "
            "free some space (`dvc gc -w` removes what the cache no longer needs)."
        )


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"This very training ({name}) already runs in another process; wait for it, or end it."
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _command(folder: Path) -> list[str]:
    worker = ["-m", "stepladder.training.worker", str(folder)]
    if slots.devices() == 1:
        return [sys.executable, *worker]
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={slots.devices()}",
        *worker,
    ]


def _run(command: list[str], held: Held) -> int:
    """Run ``command`` in this process group and in the slots ``held``; SIGTERM is passed on, and waited for."""
    # Threads that soon stop spinning: on a busy machine waiting ones would else slow the working ones down many times.
    defaults = {"GOMP_SPINCOUNT": "1000", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
    environment = defaults | os.environ | held.environment
    child = subprocess.Popen(command, env=environment, pass_fds=held.handles)
    before = {
        number: signal.signal(number, lambda received, _: child.send_signal(received))
        for number in (signal.SIGTERM, signal.SIGINT)
        if threading.current_thread() is threading.main_thread()
    }
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code
