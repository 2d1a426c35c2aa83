"""Exponential moving average of the weights, used for validation, previews and the exported model."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from stepladder.tasks.task import network
from stepladder.training.sharding import alike, whole


class WeightAverage(pl.Callback):
    """Average of ``task.model``'s parameters with a half-life of ``share`` of the run.

    The decay ramps up as ``(1 + step) / (10 + step)``, so that the first steps are soon forgotten. With ``share`` 0
    the average is the weights themselves. Buffers are not averaged.
    """

    def __init__(self, share: float, steps: int) -> None:
        self.decay = 0.5 ** (1 / max(share * steps, 1e-9)) if share else 0.0
        self.average: list[torch.Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        weights = [p.detach() for p in network(pl_module).parameters()]
        saved = self.average or weights
        self.average = [a.clone() if a is p else alike(a, p) for a, p in zip(saved, weights, strict=True)]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        decay = min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))
        weights = [p.detach() for p in network(pl_module).parameters()]
        torch._foreach_lerp_(self.average, weights, 1 - decay)

    def swap(self, pl_module: pl.LightningModule) -> None:
        """Exchange the weights and their average; calling it again undoes it."""
        with torch.no_grad():
            for average, parameter in zip(self.average, network(pl_module).parameters(), strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"average": [whole(a) for a in self.average]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.average = state_dict["average"]
