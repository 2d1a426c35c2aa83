"""Checks before the first step, instead of hours later, that the largest batch fits into memory."""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from stepladder.errors import UserError
from stepladder.tasks.task import Batch, Task


def try_largest(trainer: pl.Trainer, task: Task, batch: Batch) -> None:
    """Run ``batch`` forward and backward once; weights, gradients and randomness are left as they were.

    Raises:
        UserError: there is not enough memory.
    """
    devices = [task.device] if task.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            moved = trainer.strategy.batch_to_device(batch)
            with trainer.precision_plugin.train_step_context():
                loss = task.loss(moved)
            loss.backward()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if "memory" not in str(error):
                raise
            shapes = {name: tuple(value.shape) for name, value in batch.items() if hasattr(value, "shape")}
            raise UserError(
                f"The largest batch ({', '.join(f'{name} {shape}' for name, shape in shapes.items())}) needs more memory than "
                f"{task.device} has; lower training.batch_size, raise training.accumulate, or set "
                "transformer.activation_checkpointing=true."
            ) from None
        finally:
            for parameter in task.parameters():
                parameter.grad = None
