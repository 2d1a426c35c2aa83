"""A training whose loss, validation metrics or weights are no longer finite ends, and leaves no state to go on from."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from stepladder.errors import UserError
from stepladder.params import Training
from stepladder.tasks.task import Task

EVERY = 10  # steps, as metrics are logged
NEVER = 2**62


class Diverged(UserError):
    """A figure or a weight of a training is not finite."""


class OnlyNumbers:
    """Raises ``Diverged``, on all ranks after the same step, at the first loss or validation figure that is not finite.

    Every loss is checked on its device; the result is fetched every ``EVERY`` steps, at validations, before a
    checkpoint is written and at the end; on one CPU, where that costs nothing, after every step. Before a checkpoint
    and at the end the weights are checked too, since a gradient that is not finite changes them first. (fp16 rightly
    skips a step whose scaled gradient overflowed: neither the loss nor a weight is affected.)
    """

    def __init__(self, name: str, training: Training) -> None:
        self.name, self.training = name, training
        self.first: Tensor | None = None  # step of the first loss that is not finite, else NEVER

    def check_loss(self, trainer: pl.Trainer, loss: Tensor, *, step_finished: bool) -> None:
        """Check the ``loss`` of a micro-batch."""
        step = trainer.global_step + (not step_finished)
        bad_step = torch.where(loss.detach().isfinite(), NEVER, step)
        self.first = bad_step if self.first is None else torch.minimum(self.first, bad_step)
        is_free = trainer.world_size == 1 and bad_step.device.type == "cpu"
        if step_finished and (is_free or step % EVERY == 0):
            self._check_losses(trainer)

    def check_validation(self, trainer: pl.Trainer) -> None:
        """Check the metrics of a validation, and the losses since the last check."""
        self._check_losses(trainer)
        figures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("validation/")}
        wrong = [name for name, value in figures.items() if not math.isfinite(value)]
        if _min_over_ranks(trainer, torch.tensor(0 if wrong else NEVER, device=trainer.strategy.root_device)) < NEVER:
            name = wrong[0] if wrong else "a validation figure of another rank"
            raise self._diverged(trainer, f"{name} is {figures.get(name, math.nan)}", trainer.global_step)

    def check_weights(self, trainer: pl.Trainer, task: Task) -> None:
        """Check all parameters before they are saved, and the losses since the last check."""
        self._check_losses(trainer)
        local = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        finite = torch.stack([p.detach().isfinite().all() for p in local]).all()
        if _min_over_ranks(trainer, torch.where(finite, NEVER, 0)) < NEVER:
            raise self._diverged(trainer, "some weights are not finite numbers", trainer.global_step)

    def _check_losses(self, trainer: pl.Trainer) -> None:
        if self.first is not None and (step := _min_over_ranks(trainer, self.first)) < NEVER:
            raise self._diverged(trainer, "the loss is not a finite number", step)

    def _diverged(self, trainer: pl.Trainer, what: str, step: int) -> Diverged:
        training = self.training
        remedies = [f"lower learning_rate (it is {training.learning_rate:g})"]
        remedies.append(f"warm up for longer than {training.warmup_steps} steps")
        if not training.gradient_clip:
            remedies.append("clip gradients (gradient_clip is 0)")
        if trainer.precision != "32-true":
            remedies.append(f"set precision=fp32 (it is {trainer.precision})")
        return Diverged(
            f"{self.name} ended at step {step} of {training.steps}, where {what}; no model was made. Try to "
            f"{', '.join(remedies[:-1])} or {remedies[-1]}."
        )


def _min_over_ranks(trainer: pl.Trainer, value: Tensor) -> int:
    """The least of all ranks' integers."""
    if trainer.world_size > 1:
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MIN)
    return int(value)
