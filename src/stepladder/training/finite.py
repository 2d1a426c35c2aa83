"""A training whose loss, validation or weights are no longer numbers ends, and leaves no state to go on from."""

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

EVERY = 10  # steps, as figures are logged
NEVER = 2**62


class Diverged(UserError):
    """A figure or a weight of a training is not finite."""


class OnlyNumbers:
    """Raises ``Diverged``, on all ranks after the same step, at the first loss or validation figure that is not finite.

    The loss of every micro-batch is looked at where it is computed, and asked about every ``EVERY`` steps, at validations, before
    a checkpoint is written and at the end; on one CPU, where asking is free, after every step. Before a checkpoint and at
    the end the weights are looked at too: a gradient that is no number leaves its mark there first. (That fp16 skips
    a step whose scaled gradient overflowed is as it should be: neither the loss nor a weight shows it.)
    """

    def __init__(self, name: str, training: Training) -> None:
        self.name, self.training = name, training
        self.first: Tensor | None = None  # step of the first loss that is not finite, else NEVER

    def check_loss(self, trainer: pl.Trainer, loss: Tensor, *, step_finished: bool) -> None:
        """After a micro-batch, of this ``loss``."""
        step = trainer.global_step + (not step_finished)
        seen = torch.where(loss.detach().isfinite(), NEVER, step)
        self.first = seen if self.first is None else torch.minimum(self.first, seen)
        alone = trainer.world_size == 1 and seen.device.type == "cpu"
        if step_finished and (alone or step % EVERY == 0):
            self._check_losses(trainer)

    def check_validation(self, trainer: pl.Trainer) -> None:
        """After a validation: its figures, and the losses since the last look at them."""
        self._check_losses(trainer)
        figures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("validation/")}
        wrong = [name for name, value in figures.items() if not math.isfinite(value)]
        if _least(trainer, torch.tensor(0 if wrong else NEVER, device=trainer.strategy.root_device)) < NEVER:
            name = wrong[0] if wrong else "a validation figure of another rank"
            raise self._diverged(trainer, f"{name} is {figures.get(name, math.nan)}", trainer.global_step)

    def check_weights(self, trainer: pl.Trainer, task: Task) -> None:
        """Before they are kept: the losses since the last look at them, and all parameters."""
        self._check_losses(trainer)
        mine = [p.to_local() if isinstance(p, DTensor) else p for p in task.parameters()]
        finite = torch.stack([p.detach().isfinite().all() for p in mine]).all()
        if _least(trainer, torch.where(finite, NEVER, 0)) < NEVER:
            raise self._diverged(trainer, "some weights are not finite numbers", trainer.global_step)

    def _check_losses(self, trainer: pl.Trainer) -> None:
        if self.first is not None and (step := _least(trainer, self.first)) < NEVER:
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


def _least(trainer: pl.Trainer, value: Tensor) -> int:
    """Of all ranks' integers the least."""
    if trainer.world_size > 1:
        value = value.clone()
        dist.all_reduce(value, op=dist.ReduceOp.MIN)
    return int(value)
