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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stepladder import project
from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import Params, flatten
from stepladder.tracking import store

SECTIONS = {
    "diffusion": ("seed", "diffusion"),
    "transformer": ("seed", "transformer"),
    "feature-net": ("seed", "feature_net"),
}
CODE = {"diffusion": "diffusion", "transformer": "transformer", "feature-net": "evaluation/feature_net"}
FREE_BYTES = 300_000_000


def train(family: str, params: Params, data: Path, out: Path, *, timesteps: int | None = None) -> int:
    """Train ``family`` on the prepared ``data`` and put the model in ``out``; returns the exit code.

    Raises ``UserError`` before any work when the tracking store that the environment names does not answer, the disk
    is nearly full, or the same training already runs.
    """
    store.check()
    header = _header(family, params, data, timesteps)
    folder = project.checkpoints() / header["key"]
    folder.mkdir(parents=True, exist_ok=True)
    _check_disk(folder)
    with _alone(folder, header["run_name"]):
        name = family if timesteps is None else f"{family} T={timesteps}"
        spec = {
            "family": family, "name": name, "params": params.model_dump(mode="json"), "timesteps": timesteps,
            "data": str(data.resolve()), "header": header,
        }  # fmt: skip
        (folder / "spec.json").write_text(json.dumps(spec, indent=2))
        tracking = _Tracking(folder / "journal.jsonl", header)
        refused = folder / "error.txt"
        refused.unlink(missing_ok=True)
        command = _command(folder)
        tracking.start()
        code = _run(command)
        figures = folder / "model" / "figures.json"
        run = tracking.finish({0: "FINISHED", 130: "KILLED", 143: "KILLED"}.get(code, "FAILED"))
        if refused.exists():
            raise UserError(refused.read_text())
        if code == 0:
            origin = {name: header[name] for name in ("git_commit", "key")}
            record = (
                run | origin | {"data_hash": header["data"]["content_hash"], "figures": json.loads(figures.read_text())}
            )
            figures.unlink()
            (folder / "model" / "run.json").write_text(json.dumps(record, indent=2) + "\n")
            shutil.move(folder / "journal.jsonl", folder / "model" / "journal.jsonl")
            _replace(folder / "model", out)
            shutil.rmtree(folder)
    return code


def _header(family: str, params: Params, data: Path, timesteps: int | None) -> dict[str, Any]:
    card = read_card(data)
    leaves = flatten(params)
    relevant = {k: v for k, v in leaves.items() if k.split(".")[0] in SECTIONS[family]}
    content = [family, relevant, card["content_hash"], project.code_hash("data", "training", CODE[family])]
    return {
        "family": family,
        "experiment": f"{family}-{card['name']}",
        "run_name": family if timesteps is None else f"T={timesteps}",
        "key": _digest(*content, timesteps),
        "sweep_key": _digest(*content) if timesteps is not None else None,
        "params": relevant,
        "timesteps": timesteps,
        "seed": params.seed,
        "data": {"name": card["name"], "content_hash": card["content_hash"]},
        "git_commit": project.git_commit(),
        "git_dirty": project.git_dirty(),
        "dvc_lock": project.file_hash(project.root() / "dvc.lock"),
        "started": time.time(),
        "world_size": _devices(),
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
        lock.release()


def _devices() -> int:
    given = os.environ.get("STEPLADDER_DEVICES", "1")
    if not given.isdigit() or int(given) < 1:
        raise UserError(f"STEPLADDER_DEVICES={given!r} is not a number of devices, 1 or more.")
    return int(given)


def _command(folder: Path) -> list[str]:
    worker = ["-m", "stepladder.training.worker", str(folder)]
    if _devices() == 1:
        return [sys.executable, *worker]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={_devices()}", *worker]


def _run(command: list[str]) -> int:
    """Run ``command`` in this process group; SIGTERM is passed on, and waited for."""
    # Threads that wait passively: on a busy machine spinning ones are many times slower.
    defaults = {"OMP_WAIT_POLICY": "passive", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONUNBUFFERED": "1"}
    environment = defaults | os.environ
    child = subprocess.Popen(command, env=environment)
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


def _replace(model: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        shutil.rmtree(out)
    shutil.move(model, out)


class _Tracking(threading.Thread):
    """Opens the run and forwards the journal beside the training; a store that fails costs a line on the terminal."""

    def __init__(self, journal: Path, header: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.journal, self.header = journal, header
        self.run_: dict[str, Any] = {"run_id": None, "parent_run_id": None, "tracking_uri": store.uri()}
        self.over = threading.Event()
        self.status = "FINISHED"

    def run(self) -> None:
        if not store.uri():
            return
        from stepladder.tracking import forward, runs

        failed = ""
        try:
            self.run_ |= runs.open_run(self.header)
        except Exception as error:
            failed = str(error)
        while self.run_["run_id"]:
            ended = self.over.wait(5)
            try:
                if self.journal.exists():
                    forward.forward(self.journal, self.run_)
                if ended:
                    runs.close_run(self.run_, self.status)
                failed = ""
            except Exception as error:
                if not failed:
                    print(f"tracking: {_first_line(error)}; the training goes on", flush=True)
                failed = str(error)
            if ended:
                break
        if failed:
            print(
                f"tracking: {_first_line(failed)}; the figures are in the journal: `stepladder sync` sends them.",
                flush=True,
            )

    def finish(self, status: str) -> dict[str, Any]:
        self.status = status
        self.over.set()
        self.join(timeout=60)
        return self.run_


def _first_line(error: Any) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
