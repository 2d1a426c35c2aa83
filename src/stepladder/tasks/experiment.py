"""What a family of models gives to be trained."""

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
        files: further files that belong to the model, by the name they get beside it.
        largest: of this rank's micro-batches the one that takes most memory, to be tried first; None: not known.
        figures: of the data as it is drawn, such as ``padding``, for the journal and ``run.json``.
    """

    task: Task
    draw: Callable[[int], Batch]
    validation: list[Batch]
    files: dict[str, Path] = field(default_factory=dict)
    largest: Batch | None = None
    figures: dict[str, float] = field(default_factory=dict)
