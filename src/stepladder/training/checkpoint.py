"""Checkpoints by time and on exception, replaced in one stroke, so that a kill at any moment leaves a whole one."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stepladder.errors import UserError

EVERY_SECONDS = float(os.environ.get("STEPLADDER_CHECKPOINT_SECONDS", 30))


class TimedCheckpoint(pl.Callback):
    """Saves the whole state to ``path`` between two optimiser steps, every ``EVERY_SECONDS`` and on an exception.

    A checkpoint is always of a finished step: all that a resumed training has to know besides is its number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved = time.monotonic()
        self._between_steps = True

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        due = self._between_steps and time.monotonic() - self._saved >= EVERY_SECONDS
        if trainer.world_size > 1:
            due = trainer.strategy.broadcast(due)
        if due:
            self._save(trainer)

    def on_before_optimizer_step(self, *_: Any) -> None:
        self._between_steps = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._between_steps = (batch_idx + 1) % trainer.accumulate_grad_batches == 0

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._between_steps and trainer.global_step and trainer.world_size == 1:
            self._save(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take back the micro-batch that was fetched and not trained on; Lightning does so for one of two counters."""
        total = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]
        total["ready"] = total["started"] = total["completed"]

    def _save(self, trainer: pl.Trainer) -> None:
        fresh = self.path.with_suffix(".new")
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            os.replace(fresh, self.path)
        self._saved = time.monotonic()


def finished_steps(path: Path) -> int:
    """Number of optimiser steps behind the checkpoint at ``path``; ``UserError`` if it cannot be read."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"The checkpoint {path} cannot be read ({reason[:120]}); it was left as it is: "
            "delete it to train from the beginning, or put back an intact copy."
        ) from None
