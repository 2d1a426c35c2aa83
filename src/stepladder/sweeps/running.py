"""Runs a sweep: each child is a process, several at once; one that fails is reported and the rest go on.

A second run does what is missing: finished children stay, killed ones go on from their checkpoints, failed ones are
tried again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout

from stepladder import project, slots
from stepladder.data import source
from stepladder.errors import UserError
from stepladder.journal import record
from stepladder.params import load
from stepladder.studies.running import UPSTREAM, Running
from stepladder.studies.stages import AT_ONCE
from stepladder.sweeps import results, spec
from stepladder.sweeps.checking import check_point
from stepladder.sweeps.child import Child, Places, write_point
from stepladder.sweeps.results import Row
from stepladder.sweeps.space import Point
from stepladder.sweeps.spec import Sweep
from stepladder.tracking import health, store

STOPPED = (130, 143, -15, -2)
Prune = Callable[[list[float]], bool]
"""Says whether a training with these validation figures should end."""


def run(name: str, jobs: int, places: Places) -> int:
    """Bring the sweep ``name`` up to date, ``jobs`` children at once; returns 0, or 1 where a child failed.

    Raises:
        UserError: there is no such sweep, it is refused, or it already runs.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs} given; give the number of children to run at once, 1 or more.")
    sweep = spec.read(name)
    health.check()
    spec.folder(name).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(spec.folder(name) / "running.lock", timeout=0):
            return _Run(name, sweep, jobs, places).run()
    except Timeout:
        raise UserError(f"The sweep {name} already runs; wait for it, or end it.") from None


class _Run:
    def __init__(self, name: str, sweep: Sweep, jobs: int, places: Places) -> None:
        self.name, self.sweep, self.jobs, self.places = name, sweep, jobs, places
        self.running, self.start, self.done = Running(), time.monotonic(), 0

    def run(self) -> int:
        with self.running.terminated_on_exit():
            if code := self._upstream():
                return code
            for point in self.sweep.points():
                check_point(self.sweep, point, self.places.data(self.sweep.family), self.places.feature_net)
            if self.sweep.method == "optuna":
                from stepladder.sweeps import search

                search.run(self.name, self.sweep, self.jobs, self.trial)
            else:
                children = [(point, seed) for seed in self.sweep.seeds for point in self.sweep.points()]
                with ThreadPoolExecutor(self.jobs) as pool:
                    list(pool.map(lambda child: self.child(*child), children))
        rows = finished_rows(self.name, self.sweep, self.places)
        write(self.name, self.sweep, rows)
        print("\n" + results.table(self.sweep, rows), flush=True)
        if self.running.over:
            return 143
        failed = any(why.startswith("failed") for row in rows for why in row.unfinished.values())
        return int(failed)

    def _upstream(self) -> int:
        """Make the prepared data, and the network that judges where one is needed; returns the exit code."""
        if not (project.root() / ".dvc").is_dir():
            return 0
        print(*(f"what it needs | {line}\n" for line in source.refresh(load())), sep="", end="", flush=True)
        judges = self.sweep.is_judged and self.sweep.family != "transformer"
        stage = UPSTREAM if judges else f"prepare@{self.places.data(self.sweep.family).name}"
        return self.running.dvc(stage, {}, "what it needs", with_upstream=True)

    def trial(self, point: Point, prune: Prune) -> Row | str:
        """Train all seeds of ``point``; ``prune`` may end the first. Returns the row, or why it was pruned."""
        for place, seed in enumerate(self.sweep.seeds):
            child = self.child(point, seed, prune if place == 0 else None)
            if child.outcome().get("status") == "pruned":
                return child.outcome()["why"]
        return results.row([Child(self.name, self.sweep, point, seed, self.places) for seed in self.sweep.seeds])

    def child(self, point: Point, seed: int, prune: Prune | None = None) -> Child:
        """Bring one child up to date, and write its outcome to a file."""
        child = Child(self.name, self.sweep, point, seed, self.places)
        if child.finished():
            self._say(child, "is finished")
            return child
        if prune and child.outcome().get("status") == "pruned":
            self._say(child, "is pruned")
            return child
        write_point(self.name, point)
        child.folder.mkdir(parents=True, exist_ok=True)
        outcome = child.folder / "outcome.json"
        outcome.unlink(missing_ok=True)
        watch, output, began = _Watch(child, prune), [""], time.monotonic()

        def on_line(line: str) -> None:
            output.append(line)
            print(f"{child.id}-{seed} | {line}", flush=True)

        command = [
            sys.executable,
            "-m",
            "stepladder",
            "sweep",
            "child",
            self.name,
            child.id,
            str(seed),
            "--with-parent",
        ]
        code = self.running.call(command, self._environment(), on_line, watch.may_go_on)
        if self.running.over and code in STOPPED:
            return child
        if watch.ended and child.finished() is None:
            status, why = watch.ended
            shutil.rmtree(child.journal().parent, ignore_errors=True)  # so that it does not go on later
        elif code:
            status, why = "failed", f"{output[-1].removeprefix('stepladder: ')} (exit code {code})"
        else:
            status, why = "", ""
        if status:
            outcome.write_text(json.dumps({"status": status, "why": why}) + "\n", encoding="utf-8")
        self._say(child, f"{status or 'done'}{': ' + why if why else ''} ({time.monotonic() - began:.0f} s)")
        return child

    def _environment(self) -> dict[str, str]:
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))} if self.jobs > 1 else {}
        return {AT_ONCE: str(self.jobs)} | shared | slots.for_jobs(self.jobs)

    def _say(self, child: Child, what: str) -> None:
        self.done += 1
        print(
            f"{self.name} {self.done}: {child.title}: {what}, {time.monotonic() - self.start:.0f} s in all", flush=True
        )


class _Watch:
    """Reads the validation figures of a child while it trains; ``ended``: the status it was ended with, and why.

    A child whose figures are no longer numbers ends by itself.
    """

    def __init__(self, child: Child, prune: Prune | None) -> None:
        self.child, self.prune, self.journal = child, prune, child.journal()
        self.metric = child.sweep.prune.metric
        self.ended: tuple[str, str] | None = None

    def may_go_on(self) -> bool:
        lines = record.read(self.journal) if self.journal.exists() else []
        figures = [(line["step"], line["metrics"]) for line in lines if "metrics" in line]
        history = [(step, metrics[self.metric]) for step, metrics in figures if self.metric in metrics]
        if self.prune and history and self.prune([value for _, value in history]):
            self.ended = ("pruned", f"{self.metric} is {history[-1][1]:.4g} at step {history[-1][0]}")
            return False
        return True


def finished_rows(name: str, sweep: Sweep, places: Places) -> list[Row]:
    """A row for each point of the sweep, including Optuna's and those of earlier spaces with the same keys."""
    points = sweep.points()
    for file in sorted(spec.folder(name).glob("points/*.json"), key=lambda f: f.stat().st_mtime):
        point = json.loads(file.read_text(encoding="utf-8"))
        if sweep.method == "optuna" and list(point) == [d.key for d in sweep.dimensions] and point not in points:
            points.append(point)
    return [results.row([Child(name, sweep, point, seed, places) for seed in sweep.seeds]) for point in points]


def write(name: str, sweep: Sweep, rows: Sequence[Row]) -> Path:
    """Write ``sweeps/NAME/results.json``, and the same to the sweep's parent run; returns the file."""
    from stepladder.tracking import sweeps

    file = spec.folder(name) / "results.json"
    content = results.as_json(sweep, rows)
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if store.uri():
        try:
            sweeps.record(name, sweep.metric, content)
        except UserError as error:
            print(f"tracking: {error}")
    return file
