"""Lightning's logger that writes to the journal."""

from __future__ import annotations

import time
from typing import Any

import torch
from pytorch_lightning.loggers.logger import Logger

from stepladder.journal.record import Journal


class JournalLogger(Logger):
    """Lightning's logger that writes to a journal the means over all ranks; on ranks other than 0 to none.

    Attributes:
        latest: the last value of every metric.
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
        values = _mean_over_ranks({name: float(value) for name, value in metrics.items() if name != "epoch"})
        self.latest |= values
        if self.journal is not None:
            finished = (step or 0) + 1  # Lightning counts steps from 0
            self.journal.metrics(finished, values | self._system.due())


def _mean_over_ranks(values: dict[str, float]) -> dict[str, float]:
    """The mean of each value over all ranks, since a rank's loss is only of its share of the batch."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized() and values):
        return values
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return dict(zip(values, (total / torch.distributed.get_world_size()).tolist(), strict=True))


class _SystemMetrics:
    """Load of this machine, at most once in ``every`` seconds, under MLflow's names."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.last = 0.0

    def due(self) -> dict[str, float]:
        if time.monotonic() - self.last < self.every:
            return {}
        self.last = time.monotonic()
        metrics: dict[str, float] = {}
        try:
            import psutil
        except ImportError:
            pass
        else:
            memory = psutil.virtual_memory()
            metrics["system/cpu_utilization_percentage"] = psutil.cpu_percent()
            metrics["system/system_memory_usage_megabytes"] = memory.used / 1e6
            metrics["system/process_memory_megabytes"] = psutil.Process().memory_info().rss / 1e6
        if torch.cuda.is_available():
            metrics["system/gpu_0_memory_usage_megabytes"] = torch.cuda.max_memory_allocated() / 1e6
        return metrics
