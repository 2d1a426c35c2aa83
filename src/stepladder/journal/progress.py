"""The progress of a training: a bar in a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import TQDMProgressBar

EVERY_SECONDS = 5.0


def progress(name: str) -> pl.Callback:
    """The callback that fits standard output."""
    return TQDMProgressBar(refresh_rate=20) if sys.stdout.isatty() else PlainProgress(name)


class PlainProgress(pl.Callback):
    """Prints ``name: step 300/800, loss 0.1234, 21.3 steps/s, 23 s left``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = self.last = time.monotonic()
        self.first_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        now, step = time.monotonic(), trainer.global_step
        done = step == trainer.max_steps
        if trainer.is_global_zero and (done or now - self.last >= EVERY_SECONDS):
            self.last = now
            rate = (step - self.first_step) / max(now - self.start, 1e-9)
            loss = trainer.callback_metrics.get("train/loss")
            loss_text = f", loss {float(loss):.4f}" if loss is not None else ""
            left = f", {(trainer.max_steps - step) / rate:.0f} s left" if rate and not done else ""
            print(f"{self.name}: step {step}/{trainer.max_steps}{loss_text}, {rate:.1f} steps/s{left}", flush=True)


class Clock(pl.Callback):
    """Seconds spent training, over all attempts."""

    def __init__(self) -> None:
        self.before = 0.0
        self.start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.before + time.monotonic() - self.start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.monotonic()

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.before = state_dict["seconds"]
