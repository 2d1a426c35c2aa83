"""The course of a training, from its first micro-batch to its last weights: everything that happens, in the order in which it does.

Lightning runs the loop and does what ``trainer`` sets: it accumulates, clips, steps, validates and writes figures down. All else
happens in ``Course``, the one callback whose hooks are called in its course; within a hook the order is that of the lines.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from stepladder.errors import UserError
from stepladder.journal.logger import JournalLogger
from stepladder.journal.record import Journal
from stepladder.params import Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.randomness import mix
from stepladder.tasks.task import Batch, Task
from stepladder.training.averages import Average, LastAverage, WeightAverage
from stepladder.training.best import BestWeights
from stepladder.training.checkpoint import TimedCheckpoint, complete
from stepladder.training.finite import OnlyNumbers
from stepladder.training.gradients import by_layer
from stepladder.training.memory import try_largest
from stepladder.training.sharding import ShardedStrategy
from stepladder.training.unfreezing import check_parts, freeze

AHEAD = 4  # micro-batches that are made ahead of the training, where there is a GPU


class Stream:
    """Micro-batches from the ``start``-th on, without end; a thread makes the next while a GPU computes."""

    def __init__(self, draw: Callable[[int], Batch], start: int) -> None:
        self.draw, self.start = draw, start

    def __iter__(self) -> Iterator[Batch]:
        if not torch.cuda.is_available():
            yield from map(self.draw, itertools.count(self.start))
        with ThreadPoolExecutor(1) as executor:
            ahead = deque(executor.submit(self.draw, self.start + i) for i in range(AHEAD))
            for k in itertools.count(self.start + AHEAD):
                batch = ahead.popleft().result()
                ahead.append(executor.submit(self.draw, k))
                yield batch


class Course(pl.Callback):
    """What happens when, top to bottom. Comments that stand apart say what Lightning does between two hooks.

    ``best`` and ``average`` are callbacks too, whose state a checkpoint keeps; they have no hooks of their own.

    Args:
        name: of the training, for messages.
        folder: for all files of the training.
        unfreeze: parts of the network that are frozen at first.
        journal: of rank 0; None on the others.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        experiment: Experiment,
        training: Training,
        seed: int,
        rank: int,
        unfreeze: tuple[str, ...],
        journal: Journal | None,
    ) -> None:
        self.folder, self.task, self.largest, self.training = folder, experiment.task, experiment.largest, training
        self.seed, self.rank, self.unfreeze, self.journal = seed, rank, unfreeze, journal
        self.numbers, self.checkpoint = OnlyNumbers(name, training), TimedCheckpoint(folder)
        self.best = BestWeights(folder / "best.safetensors", training)
        self.average: Average = WeightAverage(training.ema_half_life, training.steps)
        if training.average_last:
            self.average = LastAverage(folder / "averaged", training.average_last)

    # Before the first step of this process. Lightning has placed the weights and loaded the checkpoint, if there is one.

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        check_parts(self.task.model, self.unfreeze)
        self.average.begin(self.task)

    # Lightning has made the optimiser, and given it its state.

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.checkpoint.begin(trainer)
        if self.largest is not None:
            try_largest(trainer, self.task, self.largest)
        if self.best.stopped:  # killed after the last validation, before the model was written
            trainer.should_stop = True

    # Micro-batch k, a pure function of k, comes out of ``Stream``; Lightning brings it to the device.

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any) -> None:
        # Here and nowhere else, but for the end by an exception: a checkpoint then needs to know no more than a number of steps.
        self.checkpoint.save_if_due(trainer)
        # After that, which may draw random numbers, and right before the forward: dropout is then of (seed, k, rank), and no
        # generator's state needs saving.
        torch.manual_seed(mix(self.seed, batch["position"], self.rank))

    # ``task.training_step``: from (seed, k) come augmentation, levels and noise; forward; the loss. Lightning divides it by
    # ``accumulate`` and goes backward; ranks average their gradients. Until a step's micro-batches are all there, it goes on at
    # ``on_train_batch_end``.

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        # First: whatever goes wrong from here to the end of the step leaves no state to save.
        self.checkpoint.between_steps = False
        # Before norms are looked at and clipped: what is frozen counts in neither.
        step, steps = trainer.global_step, self.training.steps
        freeze(self.task.model, self.unfreeze, step, steps)
        if self.task.layer_gradients and (step == 0 or (step + 1) % self.training.validate_every == 0):
            assert trainer.logger is not None
            norms = {f"gradient_norm/{layer}": norm for layer, norm in by_layer(self.task.model).items()}
            trainer.logger.log_metrics(norms, step)

    # Lightning clips the gradients' norm, has AdamW step, sets the next learning rate.

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        step_finished = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # First: a state with values that are not finite is neither averaged nor saved.
        self.numbers.check_loss(trainer, outputs["loss"], step_finished=step_finished)
        self.checkpoint.between_steps = step_finished
        if step_finished:
            self.average.after_step(trainer, self.task)

    # Lightning gives every tenth step's metrics to the journal. After ``validate_every`` steps it validates.

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # First: whoever ends a training while the average is in the weights' place leaves no state to save.
        self.checkpoint.between_steps = False
        # The average is what is validated, looked at, compared and in the end exported.
        self.average.take(trainer, self.task)
        self.average.swap(self.task)

    # ``task.validation_step`` of each validation batch.

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save_preview(trainer)

    # The task's metrics of the full validation, if it has such; Lightning gives all to the journal.

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # First: a metric that is not finite is not the best.
        self.numbers.check_validation(trainer)
        # With the average still in place: it is what was validated. It may end the training.
        self.best.compare(trainer, self.task)
        self.average.swap(self.task)
        self.checkpoint.between_steps = True

    # While a checkpoint is written, by ``save_if_due`` or after an exception.

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # First: raised here, an error leaves the checkpoint before this one as it is.
        self.numbers.check_weights(trainer, self.task)
        complete(checkpoint, trainer)
        self.average.saving(trainer)

    # The end: of the last step, by early stopping, or by whatever went wrong.

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.numbers.check_weights(trainer, self.task)
        self.average.take(trainer, self.task)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.checkpoint.save_after(trainer, exception)

    def choose_weights(self, trainer: pl.Trainer) -> None:
        """After the end: put the weights in place that are exported, on rank 0 the best, if there are any."""
        self.average.swap(self.task)
        if self.best.figures and trainer.is_global_zero:
            self.best.restore(self.task)

    def _save_preview(self, trainer: pl.Trainer) -> None:
        if self.journal is not None or isinstance(trainer.strategy, ShardedStrategy):
            picture = self.task.preview()  # a sharded network needs all its ranks
            if self.journal is None or picture is None:
                return
            file = Path("previews") / f"step-{trainer.global_step:07d}.png"
            (self.folder / file.parent).mkdir(exist_ok=True)
            picture.save(self.folder / file)
            self.journal.artifact(trainer.global_step, str(file))


def trainer(
    folder: Path, task: Task, training: Training, world_size: int, logger: JournalLogger, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Lightning's loop over ``training.steps`` steps, on the devices of this process and of its ``world_size`` ranks."""
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    loop = pl.Trainer(
        accelerator="auto",
        devices=devices,
        num_nodes=world_size // devices,
        strategy=_strategy(task, training, world_size),
        precision=_precision(training),
        max_steps=training.steps,
        max_epochs=-1,
        accumulate_grad_batches=training.accumulate,
        gradient_clip_val=training.gradient_clip or None,
        val_check_interval=training.validate_every * training.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=logger,
        callbacks=callbacks,
        deterministic=_deterministic(),
        enable_progress_bar=sys.stdout.isatty(),
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    # Under ``deterministic`` torch fills every new tensor, which only helps to find reads of unwritten memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return loop


def _strategy(task: Task, training: Training, world_size: int) -> Any:
    if world_size == 1:
        return "auto"
    if os.environ.get("STEPLADDER_STRATEGY") == "fsdp":
        if training.average_last or training.stop_on != "none":
            raise UserError(
                "average_last and stop_on keep whole weights, which STEPLADDER_STRATEGY=fsdp has not; use ddp."
            )
        return ShardedStrategy()
    return DDPStrategy(find_unused_parameters=task.find_unused_parameters)


def _deterministic() -> Any:
    if not torch.cuda.is_available():
        return True
    return "warn" if os.environ.get("STEPLADDER_DETERMINISTIC") != "0" else False


def _precision(training: Training) -> Any:
    if training.precision == "auto":
        return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[training.precision]
