"""The mean of the weights at the last k validations (Vaswani et al. 2017, section 6.1: the last 5 checkpoints)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stepladder.tasks.task import network


class LastAverage(pl.Callback):
    """Mean of ``task.model``'s parameters at the last ``count`` validations, used as ``WeightAverage`` is.

    The weights lie in ``folder``, a file a validation. Those that the last checkpoint on disk needs are never removed: a
    training that goes on from it averages the very same ones.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.average: list[Tensor] = []
        self.saved = 0  # step of the last checkpoint that is surely on disk
        self.saving = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.folder.mkdir(exist_ok=True)
        self.average = [p.detach().clone() for p in network(pl_module).parameters()]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take(trainer, pl_module)
        self.swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.swap(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._take(trainer, pl_module)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: Any) -> None:
        if trainer.is_global_zero:
            for file in self._files(self.saved)[: -self.count]:
                file.unlink()
        self.saved, self.saving = self.saving, trainer.global_step

    def swap(self, pl_module: pl.LightningModule) -> None:
        """Exchange the weights and their average; calling it again undoes it."""
        with torch.no_grad():
            for average, parameter in zip(self.average, network(pl_module).parameters(), strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def _take(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        file, weights = self.folder / f"{trainer.global_step:010d}.safetensors", list(network(pl_module).parameters())
        if trainer.is_global_zero:
            fresh = file.with_suffix(".new")
            save_file({str(i): w.detach().contiguous().cpu() for i, w in enumerate(weights)}, fresh)
            os.replace(fresh, file)
        self.average = [torch.zeros_like(w) for w in weights]
        files = self._files(trainer.global_step)[-self.count :] if trainer.is_global_zero else []
        for each in files:
            loaded = load_file(each)
            for i, average in enumerate(self.average):
                average += loaded[str(i)].to(average) / len(files)
        if trainer.world_size > 1:  # other nodes need not see the folder
            for average in self.average:
                torch.distributed.broadcast(average, src=0)

    def _files(self, step: int) -> list[Path]:
        """Weights up to ``step``, in order."""
        return sorted(f for f in self.folder.glob("*.safetensors") if int(f.stem) <= step)

    def state_dict(self) -> dict[str, Any]:
        return {"saved": self.saving}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saved = self.saving = state_dict["saved"]
