"""The best weights by a validation figure, and early stopping (Prechelt 1998)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stepladder.errors import UserError
from stepladder.params import Training
from stepladder.tasks.task import Task

HIGHER = {"loss": False, "bleu": True}


class BestWeights(pl.Callback):
    """Keeps in ``file`` the weights that are best by the validation metric ``training.stop_on``.

    A resumed training repeats the validations since its checkpoint, and writes the same weights again.

    Attributes:
        step, figures: of the best validation. waited: validations since. stopped: whether they became too many.
    """

    def __init__(self, file: Path, training: Training) -> None:
        self.file, self.metric, self.patience = file, training.stop_on, training.patience
        self.step, self.figures, self.waited, self.stopped = 0, dict[str, float](), 0, False

    def compare(self, trainer: pl.Trainer, task: Task) -> None:
        """After a validation, with the validated weights in place: keep them if they are the best, or stop.

        Raises:
            UserError: the training has no such metric.
        """
        if self.metric == "none":
            return
        name = f"validation/{self.metric}"
        figures = {
            key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("validation/")
        }
        if name not in figures:
            raise UserError(
                f"stop_on={self.metric} waits for {name}, and this training has {', '.join(figures) or 'no such figures'}; "
                "set stop_on to none or loss."
            )
        sign = 1 if HIGHER[self.metric] else -1
        if not self.figures or sign * figures[name] > sign * self.figures[name]:
            self.step, self.figures, self.waited = trainer.global_step, figures, 0
            if trainer.is_global_zero:
                fresh = self.file.with_suffix(".new")
                save_file({k: v.contiguous().cpu() for k, v in stored(task.model).items()}, fresh)
                os.replace(fresh, self.file)
            return
        self.waited += 1
        if self.patience and self.waited >= self.patience:
            self.stopped = trainer.should_stop = True

    def restore(self, task: Task) -> None:
        """Put the best weights in place."""
        task.model.load_state_dict(load_file(self.file), strict=False)

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "figures": self.figures, "waited": self.waited, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.step, self.figures = state_dict["step"], state_dict["figures"]
        self.waited, self.stopped = state_dict["waited"], state_dict["stopped"]


def stored(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers as they are saved, by name; tied ones only once."""
    untied = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: value for name, value in model.state_dict().items() if name in untied}
