"""The journal: figures as JSON lines beside the checkpoint, written by rank 0 and by nobody else.

A line is ``{"step", "time", "metrics"}`` or ``{"step", "time", "artifact"}``; the first is ``{"header"}``. A training that
resumes repeats steps it had journalled; they are the same figures, and are not written twice.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.loggers.logger import Logger

from stepladder.tracking.forward import read


class Journal:
    """Appends lines to the journal at ``path``."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
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
        """Figures at ``step``; those already written for it or a later step are left out."""
        new = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        if new:
            self._last |= dict.fromkeys(new, step)
            self._write({"step": step, "time": time.time(), "metrics": new})

    def artifact(self, step: int, file: str) -> None:
        """A file, by its path relative to the journal's folder."""
        if step > self._last.get(_series(file), -1):
            self._last[_series(file)] = step
            self._write({"step": step, "time": time.time(), "artifact": file})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class JournalLogger(Logger):
    """Lightning's logger that writes to a journal the means over all ranks; on ranks other than 0 to none.

    Attributes:
        latest: the last value of every figure.
    """

    def __init__(self, journal: Journal | None) -> None:
        super().__init__()
        self.journal = journal
        self.latest: dict[str, float] = {}
        self._system = _SystemMetrics(every=10.0)

    @property
    def name(self) -> str:
        return "journal"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """The header holds them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        values = _over_ranks({name: float(value) for name, value in metrics.items() if name != "epoch"})
        self.latest |= values
        if self.journal is not None:
            finished = (step or 0) + 1  # Lightning counts steps from 0
            self.journal.metrics(finished, values | self._system.due())


def _over_ranks(values: dict[str, float]) -> dict[str, float]:
    """The mean of each over all ranks: a rank's own loss is of its share of the batch only."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized() and values):
        return values
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return dict(zip(values, (total / torch.distributed.get_world_size()).tolist(), strict=True))


class _SystemMetrics:
    """Load of this machine, at most once in ``every`` seconds; MLflow's names for them."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.last = 0.0

    def due(self) -> dict[str, float]:
        if time.monotonic() - self.last < self.every:
            return {}
        self.last = time.monotonic()
        figures: dict[str, float] = {}
        try:
            import psutil
        except ImportError:
            pass
        else:
            memory = psutil.virtual_memory()
            figures["system/cpu_utilization_percentage"] = psutil.cpu_percent()
            figures["system/system_memory_usage_megabytes"] = memory.used / 1e6
            figures["system/process_memory_megabytes"] = psutil.Process().memory_info().rss / 1e6
        if torch.cuda.is_available():
            figures["system/gpu_0_memory_usage_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
        return figures


def _series(artifact: str) -> str:
    return "artifact:" + str(Path(artifact).parent)


def _cut_incomplete_line(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
