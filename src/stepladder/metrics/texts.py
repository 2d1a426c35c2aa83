"""The figures of language models: each task's, and those that a study takes from the curve of a training; docs/decoding.md says how."""

from __future__ import annotations

from stepladder.metrics.metric import Metric
from stepladder.text_tasks.tasks import LOSS, TASKS

COMMON = {
    "loss": LOSS,
    "gap": Metric("validation loss less training loss", -1, signed=True, judged=False),
    "gradient_ratio": Metric("gradient norms at the first step, largest layer over smallest", -1, judged=False),
}
FIGURES = {name: metric for task in TASKS.values() for name, metric in task.judging.figures.items()} | COMMON
JUDGED = tuple(name for name, metric in FIGURES.items() if metric.judged)


def headlines(entry: str) -> list[str]:
    """The figures shown first of the tasks that a comparison has there, see ``ENTRIES``."""
    own = (task.judging.figures | COMMON for task in TASKS.values() if task.page.entry == entry)
    return list(dict.fromkeys(name for figures in own for name, metric in figures.items() if metric.headline))
