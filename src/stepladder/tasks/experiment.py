"""What a family of models provides for its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stepladder.tasks.task import Batch, Task


@dataclass(frozen=True)
class Experiment:
    """A task, its data and what belongs to the finished model.

    Attributes:
        task: the network, its loss and its optimiser.
        draw: the k-th micro-batch of this rank, a pure function of k = 0, 1, 2, ...; resuming needs only k.
        validation: this rank's fixed validation batches.
        files: further files of the model, by their names in its folder.
        largest: this rank's micro-batch that needs the most memory, to be tried first; None: not known.
        figures: metrics of the micro-batches, such as ``padding``, for the journal and ``run.json``.
    """

    task: Task
    draw: Callable[[int], Batch]
    validation: list[Batch]
    files: dict[str, Path] = field(default_factory=dict)
    largest: Batch | None = None
    figures: dict[str, float] = field(default_factory=dict)
