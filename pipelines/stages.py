"""Runs one stage: ``dvc --wait-for-lock repro --single-item STAGE``, logs its lines, and turns its failure into a sentence."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from pipelines import graph
from stepladder.errors import UserError
from stepladder.slots import Held

USER_ERROR = 2
GRACE_SECONDS = 15.0
FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""Prefect sets it in a run's process; all processes that the run starts inherit it."""

ADVICE = re.compile(
    r"\s*(To track the changes|git add |To enable auto staging|dvc config core.autostage|Use `dvc push`|(Generat|Updat)ing lock)"
)
"""DVC's advice for users of its command line, which a run's log does not need."""

_running: dict[int, subprocess.Popen[str]] = {}
_run_is_over = threading.Event()


class StageError(Exception):
    """A stage failed for a reason other than its input, so it may be tried again."""


def run(stage: str, *, workspace: Path, root: Path, held: Held, log: Callable[[str], None], flow_run: str = "") -> None:
    """Bring ``stage`` of the DVC project in ``workspace`` up to date, in the slots ``held``, for ``flow_run``.

    ``root`` is the project that owns checkpoints and tracking store; it is ``workspace`` itself but for an experiment.
    The processes stay in this process's group, so that ending the group ends the training.

    Raises ``UserError`` with the command's own sentence where it exits with code 2, else ``StageError``.
    """
    if _run_is_over.is_set():
        raise StageError(f"{stage} was not started: the run is over")
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", stage]
    environment = held.environment | {"DVC_ROOT": str(root)} | ({FLOW_RUN: flow_run} if flow_run else {})
    code, errors = call(command, folder=workspace, environment=environment, log=log, hold=held.handles)
    if _run_is_over.is_set():  # then psutil may have taken the exit code, and Popen would have 0
        raise StageError(f"{stage} was ended: the run is over")
    if code == 0:
        return
    sentence, exit_code = _failure(errors)
    if exit_code == USER_ERROR:
        raise UserError(sentence)
    raise StageError(f"{stage} failed{f' with exit code {exit_code}' if exit_code is not None else ''}: {sentence}")


def by_hand(
    stage: str, *, workspace: Path, root: Path, held: Held, log: Callable[[str], None], flow_run: str = ""
) -> None:
    """Run the command of ``stage`` on the files in ``workspace``: without DVC, which requires all dependencies of the stage,
    and without the tracking store. Arguments and errors are those of ``run``.
    """
    if _run_is_over.is_set():
        raise StageError(f"{stage} was not started: the run is over")
    command, results = graph.command(workspace, stage)
    for result in results:  # as DVC does: it may be a link into the cache
        if result.is_dir() and not result.is_symlink():
            shutil.rmtree(result)
        else:
            result.unlink(missing_ok=True)
        result.parent.mkdir(parents=True, exist_ok=True)
    variables = {"DVC_ROOT": str(root), "STEPLADDER_TRACKING": "journal"} | ({FLOW_RUN: flow_run} if flow_run else {})
    code, errors = call(
        ["sh", "-c", command], folder=workspace, environment=held.environment | variables, log=log, hold=held.handles
    )
    if code == USER_ERROR:
        raise UserError((errors or [f"{stage} was refused."])[-1].removeprefix("stepladder: "))
    if code:
        raise StageError(f"{stage} failed with exit code {code}: {(errors or ['it ended without a word'])[-1]}")


def call(
    command: list[str],
    *,
    folder: Path,
    environment: dict[str, str],
    log: Callable[[str], None],
    hold: tuple[int, ...] = (),
) -> tuple[int, list[str]]:
    """Run ``command`` and pass each of its lines to ``log``; returns the exit code and the lines of standard error.

    ``hold`` are files that the process keeps open as long as it lives.
    """
    errors: list[str] = []

    def forward(stream: IO[str], keep: bool) -> None:
        for line in stream:
            text = line.rstrip()
            if text and not ADVICE.match(text):
                log(text)
                if keep:
                    errors.append(text)

    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | _environment() | environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        pass_fds=hold,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    _running[process.pid] = process
    try:
        reader = threading.Thread(target=forward, args=(process.stdout, False), daemon=True)
        reader.start()
        forward(process.stderr, True)
        reader.join()
        return process.wait(), errors
    finally:
        _end([process])
        del _running[process.pid]


@contextmanager
def ended_with_the_run() -> Iterator[None]:
    """When the block ends early, also by cancelling, the stages that it started are ended with all their processes.

    A task that would be tried again starts no stage after that. A process runs one such block at a time.
    """
    _run_is_over.clear()
    try:
        yield
    finally:
        _run_is_over.set()
        _end(list(_running.values()))


def end_left_over(flow_run: str) -> int:
    """End what a killed attempt at ``flow_run`` left running on this machine; returns the number of processes."""
    this = psutil.Process()
    excluded = {this.pid, *(p.pid for p in this.parents()), *(p.pid for p in this.children(recursive=True))}
    left_over = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in excluded and process.environ().get(FLOW_RUN) == flow_run:
                left_over.append(process)
    _end_all(left_over)
    return len(left_over)


def _end(processes: list[subprocess.Popen[str]]) -> None:
    alive: list[psutil.Process] = []
    for process in processes:
        if process.poll() is None:
            try:
                this = psutil.Process(process.pid)
                alive += [this, *this.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
    _end_all(alive)


def _end_all(alive: list[psutil.Process]) -> None:
    for member in alive:
        _send(member, signal.SIGTERM)
    for member in psutil.wait_procs(alive, timeout=GRACE_SECONDS)[1]:
        _send(member, signal.SIGKILL)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _environment() -> dict[str, str]:
    """Environment variables: commands of this interpreter come first; code comes from the stage's folder."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    code = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH", "")]))
    return {"PATH": path, "PYTHONPATH": code, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}


def _failure(errors: list[str]) -> tuple[str, int | None]:
    """(the command's last line, or DVC's where it printed none, and the exit code that DVC reports)."""
    lines_before: list[str] = []
    for line in errors:
        match = re.search(r"ERROR: failed to reproduce .*exited with (-?\d+)", line)
        if match:
            return lines_before[-1] if lines_before else line.removeprefix("ERROR: "), int(match.group(1))
        lines_before.append(line)
    dvc_errors = [line.removeprefix("ERROR: ") for line in errors if line.startswith("ERROR: ")]
    return (dvc_errors or lines_before or ["DVC ended without a word"])[-1], None
