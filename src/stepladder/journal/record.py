"""The journal: metrics as JSON lines, next to the checkpoint, which only rank 0 writes.

The first line is the header, every other has metrics or names a file. A training that resumes repeats steps that are in
the journal already; their metrics are the same, and are not written twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict


class Data(TypedDict):
    """The prepared data of a training."""

    name: str
    content_hash: str


class Sweep(TypedDict):
    """The sweep that a training belongs to."""

    name: str
    space: dict[str, str]  # what is swept, by the parameter's key; for people


class Header(TypedDict, total=False):
    """What a training is, and what started it; older headers lack keys, and that of a trial is empty."""

    family: str
    experiment: str  # in MLflow, as ``run_name``
    run_name: str
    study: str  # STUDY/ARM, "" for none
    key: str
    sweep: Sweep | None
    sweep_key: str | None  # the same for all trainings of one parent run
    params: Mapping[str, object]  # those that it reads, by dotted key
    timesteps: int | None
    seed: int
    data: Data
    git_commit: str | None
    git_dirty: bool
    dvc_lock: str | None  # its hash
    flow_run: str
    started: float  # unix seconds
    world_size: int
    environment: dict[str, str]  # see ``lineage.deciding``


class Line(TypedDict, total=False):
    """The ``header`` alone, or ``step`` and ``time`` with ``metrics`` or an ``artifact``."""

    header: Header
    step: int
    time: float  # unix seconds
    metrics: dict[str, float]
    artifact: str  # a file, by its path relative to the journal's folder


def read(journal: Path) -> list[Line]:
    """The complete lines of a journal, the header first."""
    return [line for _, line in lines(journal)]


def lines(journal: Path, start: int = 0) -> Iterator[tuple[int, Line]]:
    """(byte after the line, content) of each complete line from byte ``start`` on."""
    with journal.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):
                start += len(line)
                yield start, json.loads(line)


class Journal:
    """Appends lines to the journal at ``path``."""

    def __init__(self, path: Path, header: Header) -> None:
        self._last: dict[str, int] = {}
        if path.exists():
            _cut_incomplete_line(path)
            for line in read(path):
                for name in line.get("metrics", {}):
                    self._last[name] = line["step"]
                if "artifact" in line:
                    self._last[_series(line["artifact"])] = line["step"]
        fresh = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="utf-8")
        if fresh:
            self._write({"header": header})

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Write metrics at ``step``, except those already written for it or a later step."""
        new = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        if new:
            self._last |= dict.fromkeys(new, step)
            self._write({"step": step, "time": time.time(), "metrics": new})

    def artifact(self, step: int, file: str) -> None:
        """Write the path of a file, relative to the journal's folder."""
        if step > self._last.get(_series(file), -1):
            self._last[_series(file)] = step
            self._write({"step": step, "time": time.time(), "artifact": file})

    def _write(self, line: Line) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _series(artifact: str) -> str:
    return "artifact:" + str(Path(artifact).parent)


def _cut_incomplete_line(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
