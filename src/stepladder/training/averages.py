"""Averages of the weights, used for validation, previews and the exported model: exponential, or of the last validations."""

from __future__ import annotations

import os
from pathlib import Path

import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stepladder.tasks.task import Task
from stepladder.training.sharding import gather_full, place_like


class Average(pl.Callback):
    """Average of ``task.model``'s parameters; buffers are not averaged. A checkpoint keeps the callback's state.

    Attributes:
        average: one tensor a parameter, in their order.
    """

    average: list[Tensor]

    def begin(self, task: Task) -> None:
        """Start, when the weights to begin or go on from are in place."""
        raise NotImplementedError

    def after_step(self, trainer: pl.Trainer, task: Task) -> None:
        """Include the weights after an optimiser step."""

    def take(self, trainer: pl.Trainer, task: Task) -> None:
        """Include the weights at a validation, or at the end."""

    def saving(self, trainer: pl.Trainer) -> None:
        """Called while a checkpoint is written, which includes this callback's state."""

    def swap(self, task: Task) -> None:
        """Exchange the weights and their average; calling it again undoes it."""
        with torch.no_grad():
            for average, parameter in zip(self.average, task.model.parameters(), strict=True):
                weights = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(weights)


class WeightAverage(Average):
    """Exponential moving average with a half-life of ``share`` of the run.

    The decay ramps up as ``(1 + step) / (10 + step)``, so that the first steps are soon forgotten. With ``share`` 0
    the average is the weights themselves.
    """

    def __init__(self, share: float, steps: int) -> None:
        self.decay = 0.5 ** (1 / max(share * steps, 1e-9)) if share else 0.0
        self.average = []

    def begin(self, task: Task) -> None:
        weights = [p.detach() for p in task.model.parameters()]
        saved = self.average or weights
        self.average = [a.clone() if a is p else place_like(a, p) for a, p in zip(saved, weights, strict=True)]

    def after_step(self, trainer: pl.Trainer, task: Task) -> None:
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))
        torch._foreach_lerp_(self.average, [p.detach() for p in task.model.parameters()], 1 - decay)

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"average": [gather_full(a) for a in self.average]}

    def load_state_dict(self, state_dict: dict[str, list[Tensor]]) -> None:
        self.average = state_dict["average"]


class LastAverage(Average):
    """Mean at the last ``count`` validations (Vaswani et al. 2017, section 6.1: the last 5 checkpoints).

    The weights lie in ``folder``, a file a validation. Those that the last checkpoint on disk needs are never removed: a
    training that goes on from it averages the same files.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.average = []
        self.on_disk = 0  # step of the last checkpoint that is surely on disk
        self.written = 0

    def begin(self, task: Task) -> None:
        self.folder.mkdir(exist_ok=True)
        self.average = [p.detach().clone() for p in task.model.parameters()]

    def take(self, trainer: pl.Trainer, task: Task) -> None:
        file, weights = self.folder / f"{trainer.global_step:010d}.safetensors", list(task.model.parameters())
        if trainer.is_global_zero:
            fresh = file.with_suffix(".new")
            save_file({str(i): w.detach().contiguous().cpu() for i, w in enumerate(weights)}, fresh)
            os.replace(fresh, file)
        self.average = [torch.zeros_like(w) for w in weights]
        files = self._files(trainer.global_step)[-self.count :] if trainer.is_global_zero else []
        for path in files:
            loaded = load_file(path)
            for i, average in enumerate(self.average):
                average += loaded[str(i)].to(average) / len(files)
        if trainer.world_size > 1:  # other nodes need not see the folder
            for average in self.average:
                torch.distributed.broadcast(average, src=0)

    def saving(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            for file in self._files(self.on_disk)[: -self.count]:
                file.unlink()
        self.on_disk, self.written = self.written, trainer.global_step

    def _files(self, step: int) -> list[Path]:
        """The files of weights up to ``step``, in order."""
        return sorted(f for f in self.folder.glob("*.safetensors") if int(f.stem) <= step)

    def state_dict(self) -> dict[str, int]:
        return {"saved": self.written}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.on_disk = self.written = state_dict["saved"]
