"""Runs a study: first the stages that it needs, then its cells, several at once, then its page.

Each cell is ``dvc --wait-for-lock repro --single-item``: DVC alone decides what is to be done, and a later
``dvc repro studies/NAME/dvc.yaml`` says that everything is up to date. One cell that fails stops no other.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from stepladder import slots
from stepladder.data import source
from stepladder.errors import UserError
from stepladder.params import load
from stepladder.studies import page, results, spec, stages
from stepladder.studies.checking import check_arm, check_data

UPSTREAM = "feature-net"  # this stage and those that it needs: the prepared pictures
UPSTREAM_OF_TEXT = "prepare@text"
QUIET = re.compile(
    r"\s*$|\s*(To track the changes|git add |To enable auto staging|dvc config |Use `dvc push`|(Generat|Updat)ing lock|"
    r"Running stage |> stepladder |Stage '.*' didn't change)"
)


def run(name: str, jobs: int, reports: Path, data: Path, feature_net: Path) -> int:
    """Bring the study ``name`` up to date, ``jobs`` cells at once; returns 0, or 1 where a cell failed.

    In any case a page is made of the finished cells.

    Args:
        data: folder of the prepared data that its arms are trained on; feature_net: folder of the network that judges.

    Raises:
        UserError: there is no such study, it needs other data than ``params.yaml`` prepares, ``jobs`` is below 1, DVC
            is not installed, or an arm cannot be trained on the prepared data or sampled from as the study says.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs} given; give the number of cells to run at once, 1 or more.")
    study = spec.read(name)
    check_data(name, study)
    stages.write(name)
    names = stages.cells(name, study)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    shared = {"OMP_NUM_THREADS": str(threads)} if jobs > 1 else {}
    environment = {stages.AT_ONCE: str(jobs)} | shared | slots.for_jobs(jobs)
    running = Running()
    start = time.monotonic()
    with running.terminated_on_exit():
        print(*(f"what it needs | {line}\n" for line in source.refresh(load())), sep="", end="", flush=True)
        if running.dvc(UPSTREAM_OF_TEXT if study.of_text else UPSTREAM, {}, "what it needs", with_upstream=True):
            return 1
        for arm in study.arms:
            check_arm(study, arm, data, feature_net)
        done = 0

        def cell(stage: str) -> bool:
            nonlocal done
            short = stage.rpartition("@")[2]
            began = time.monotonic()
            code = running.dvc(stage, environment, short)
            done += 1
            outcome = "done" if code == 0 else f"FAILED with exit code {code}"
            now = time.monotonic()
            print(
                f"{name} {done}/{len(names)}: {short} {outcome} ({now - began:.0f} s, {now - start:.0f} s in all)",
                flush=True,
            )
            return code == 0

        with ThreadPoolExecutor(jobs) as pool:
            fine = all(list(pool.map(cell, names)))
        if fine:
            return running.dvc(f"studies/{name}/dvc.yaml:page", {}, "page")
    if len(results.read(name, study, spec.folder(name) / "cells")[1]) < len(names):
        print(f"page of what is finished: {page.write(name, reports)}")
    return 1


class Running:
    """The processes of a run, each in a process group that ends with the run."""

    def __init__(self) -> None:
        self.alive: set[subprocess.Popen[str]] = set()
        self.lock = threading.Lock()
        self.over = False

    def dvc(self, stage: str, environment: dict[str, str], prefix: str, *, with_upstream: bool = False) -> int:
        """``dvc repro`` of ``stage``, ``with_upstream`` also of all that it needs; ``prefix`` precedes its lines."""
        command = ["dvc", "--wait-for-lock", "repro", *([] if with_upstream else ["--single-item"]), stage]
        try:
            return self.call(command, environment, lambda line: print(f"{prefix} | {line}", flush=True))
        except FileNotFoundError:
            raise UserError("DVC is not installed; `pip install 'stepladder[pipeline]'` brings it.") from None

    def call(
        self,
        command: list[str],
        environment: dict[str, str],
        on_line: Callable[[str], None],
        watch: Callable[[], bool] | None = None,
    ) -> int:
        """Run ``command`` and pass its lines to ``on_line``; returns its exit code, 130 where the run is over.

        ``watch`` is called every second and says whether the command may go on; if not, its process group gets SIGTERM.
        The standard input of the command closes when this process ends, however it ends.
        """
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        defaults = {"PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
        with self.lock:
            if self.over:
                return 130
            process = subprocess.Popen(
                command, env=os.environ | defaults | environment, text=True, errors="replace", start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self.alive.add(process)
        assert process.stdout is not None
        ended = threading.Event()
        if watch is not None:
            threading.Thread(target=_watch, args=(process, watch, ended), daemon=True).start()
        for line in process.stdout:
            if not QUIET.match(line):
                on_line(line.rstrip())
        code = process.wait()
        ended.set()
        with self.lock:
            self.alive.discard(process)
        if process.stdin is not None:
            process.stdin.close()
        return code

    @contextmanager
    def terminated_on_exit(self) -> Iterator[None]:
        """Where the block ends early, its processes are terminated; trainings keep their last checkpoint."""
        before = None
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: self._end())
        try:
            yield
        except BaseException:
            self._end()
            raise
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def _end(self) -> None:
        with self.lock:
            self.over = True
            for process in self.alive:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


def _watch(process: subprocess.Popen[str], may_go_on: Callable[[], bool], ended: threading.Event) -> None:
    while not ended.wait(1.0):
        if not may_go_on():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            return
