"""Whether the largest batch fits into memory, found out before the first step instead of hours later."""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl
import torch

from stepladder.errors import UserError
from stepladder.tasks.task import Batch


class LargestBatch(pl.Callback):
    """Runs ``batch`` forward and backward once before the training; leaves weights, gradients and randomness as they were.

    Of tasks that have ``loss(batch)``.
    """

    def __init__(self, batch: Batch | None) -> None:
        self.batch = batch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise ``UserError`` where memory does not suffice."""
        if self.batch is None:
            return
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            try:
                batch = trainer.strategy.batch_to_device(self.batch)
                with trainer.precision_plugin.train_step_context():
                    loss = cast(Any, pl_module).loss(batch)
                loss.backward()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if "memory" not in str(error):
                    raise
                shapes = {name: tuple(value.shape) for name, value in self.batch.items() if hasattr(value, "shape")}
                raise UserError(
                    f"The largest batch ({', '.join(f'{name} {shape}' for name, shape in shapes.items())}) needs more memory than "
                    f"{pl_module.device} has; lower training.batch_size, raise training.accumulate, or set "
                    "transformer.activation_checkpointing=true."
                ) from None
            finally:
                for parameter in pl_module.parameters():
                    parameter.grad = None
        self.batch = None
