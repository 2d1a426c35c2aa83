"""The training process: one on a single device, one a rank under ``torchrun``.

``python -m stepladder.training.worker FOLDER`` trains what ``FOLDER/spec.json`` says, resuming from ``FOLDER/last.ckpt``
where there is one, and leaves the model in ``FOLDER/model/``. It knows of no scheduler, pipeline or tracking server.
``STEPLADDER_COMPILE=1`` compiles the network: minutes at the start for a faster step. ``STEPLADDER_DETERMINISTIC=0`` lets a
GPU use faster kernels whose sums differ in the last bits from run to run.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from stepladder import lineage
from stepladder.errors import UserError
from stepladder.journal.logger import JournalLogger
from stepladder.journal.progress import Clock, progress
from stepladder.journal.record import Journal
from stepladder.params import Training, build
from stepladder.processes import die_with_parent
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.randomness import mix
from stepladder.tasks.task import Batch, Task, network
from stepladder.training.agreement import agreed_checkpoint
from stepladder.training.best import BestWeights
from stepladder.training.checkpoint import TimedCheckpoint, finished_steps
from stepladder.training.ema import WeightAverage
from stepladder.training.families import FAMILIES
from stepladder.training.finite import OnlyNumbers
from stepladder.training.gradients import LayerGradients
from stepladder.training.last_average import LastAverage
from stepladder.training.memory import LargestBatch
from stepladder.training.sharding import ShardedStrategy, whole
from stepladder.training.unfreezing import Unfreezing

AHEAD = 4  # micro-batches drawn before they are asked for, beside a GPU


def train(folder: Path) -> None:
    """Train to the end what ``folder/spec.json`` says; rank 0 writes the model, its figures and the journal."""
    spec = json.loads((folder / "spec.json").read_text())
    params, family = build(spec["params"]), spec["family"]
    training = FAMILIES[family].training(params)
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    checkpoint = agreed_checkpoint(folder, spec["header"].get("key", ""))
    start = finished_steps(checkpoint) if checkpoint else 0

    torch.manual_seed(mix(params.seed))
    experiment: Experiment = import_module(FAMILIES[family].module).experiment(
        params, Path(spec["data"]), rank=rank, world_size=world_size, timesteps=spec["timesteps"]
    )
    if rank == 0:
        lineage.capture_environment(folder / lineage.FOLDER)
    header = spec["header"] | {"environment": lineage.deciding()}
    journal = Journal(folder / "journal.jsonl", header) if rank == 0 else None
    trained = sum(p.numel() for p in experiment.task.parameters() if p.requires_grad)  # a discriminator's too
    average: WeightAverage | LastAverage = WeightAverage(training.ema_half_life, training.steps)
    if training.average_last:
        average = LastAverage(folder / "averaged", training.average_last)
    best, clock, logger = BestWeights(folder / "best.safetensors", training), Clock(), JournalLogger(journal)
    callbacks: list[pl.Callback] = [
        OnlyNumbers(spec["name"], training), TimedCheckpoint(folder), _Seeding(params.seed, rank), LargestBatch(experiment.largest), best, average, clock,
        _Previews(folder, journal), Unfreezing(FAMILIES[family].unfreeze(params), training.steps),
        LayerGradients(training.validate_every), progress(spec["name"]),
    ]  # fmt: skip
    trainer = _trainer(folder, experiment, training, world_size, logger, callbacks)
    if os.environ.get("STEPLADDER_COMPILE") == "1":
        experiment.task.compile_model()
    if journal is not None and experiment.figures:
        journal.metrics(0, experiment.figures)
    if rank == 0 and start:
        print(f"{spec['name']}: resumes at step {start} of {training.steps}", flush=True)
    trainer.fit(
        experiment.task,
        _Stream(experiment.draw, start * training.accumulate),
        DataLoader(experiment.validation, batch_size=None),  # type: ignore[arg-type]
        ckpt_path=checkpoint if start else None,
        weights_only=True,
    )
    if trainer.global_step < training.steps and not best.stopped:
        raise KeyboardInterrupt
    average.swap(experiment.task)
    if best.figures and trainer.is_global_zero:
        best.restore(experiment.task)
    if trainer.is_global_zero:
        (folder / "model").mkdir(exist_ok=True)
        experiment.task.finish(folder / "model")
    weights = {name: whole(tensor).cpu() for name, tensor in network(experiment.task).state_dict().items()}
    if trainer.is_global_zero:
        figures = _figures(experiment, trainer, clock, logger) | {"trained_parameters": trained} | experiment.figures
        figures |= best.figures | ({"best_step": best.step} if best.figures else {})
        _export(experiment, weights, folder / "model", figures)
    # Whoever dies while the model is written has not passed the first: the second fails, and all go on together.
    for _ in range(2):
        trainer.strategy.barrier()


def _trainer(
    folder: Path,
    experiment: Experiment,
    training: Training,
    world_size: int,
    logger: JournalLogger,
    callbacks: list[pl.Callback],
) -> pl.Trainer:
    """Lightning's loop over ``training.steps`` steps, on the devices of this process and of its ``world_size`` ranks."""
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    trainer = pl.Trainer(
        accelerator="auto",
        devices=devices,
        num_nodes=world_size // devices,
        strategy=_strategy(experiment, training, world_size),
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
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return trainer


class _Stream:
    """Micro-batches from the ``start``-th on, without end; beside a GPU the next is drawn while it computes."""

    def __init__(self, draw: Any, start: int) -> None:
        self.draw, self.start = draw, start

    def __iter__(self) -> Iterator[Batch]:
        if not torch.cuda.is_available():
            yield from map(self.draw, itertools.count(self.start))
        with ThreadPoolExecutor(1) as beside:
            ahead = deque(beside.submit(self.draw, self.start + i) for i in range(AHEAD))
            for k in itertools.count(self.start + AHEAD):
                batch = ahead.popleft().result()
                ahead.append(beside.submit(self.draw, k))
                yield batch


class _Seeding(pl.Callback):
    """Seeds torch before every micro-batch, from (seed, position, rank): dropout needs no saved state."""

    def __init__(self, seed: int, rank: int) -> None:
        self.seed, self.rank = seed, rank

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, *_: Any) -> None:
        torch.manual_seed(mix(self.seed, batch["position"], self.rank))


class _Previews(pl.Callback):
    """Saves the task's ``preview()`` at validations; placed after the average, whose weights are then in place."""

    def __init__(self, folder: Path, journal: Journal | None) -> None:
        self.folder, self.journal = folder, journal

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if self.journal is not None or isinstance(trainer.strategy, ShardedStrategy):
            picture = pl_module.preview()  # a sharded network needs all its ranks
            if self.journal is None or picture is None:
                return
            file = Path("previews") / f"step-{trainer.global_step:07d}.png"
            (self.folder / file.parent).mkdir(exist_ok=True)
            picture.save(self.folder / file)
            self.journal.artifact(trainer.global_step, str(file))


def _strategy(experiment: Experiment, training: Training, world_size: int) -> Any:
    if world_size == 1:
        return "auto"
    if os.environ.get("STEPLADDER_STRATEGY") == "fsdp":
        if training.average_last or training.stop_on != "none":
            raise UserError(
                "average_last and stop_on keep whole weights, which STEPLADDER_STRATEGY=fsdp has not; use ddp."
            )
        return ShardedStrategy()
    return DDPStrategy(find_unused_parameters=experiment.task.find_unused_parameters)


def _deterministic() -> Any:
    if not torch.cuda.is_available():
        return True
    return "warn" if os.environ.get("STEPLADDER_DETERMINISTIC") != "0" else False


def _precision(training: Training) -> Any:
    if training.precision == "auto":
        return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[training.precision]


def _figures(experiment: Experiment, trainer: pl.Trainer, clock: Clock, logger: JournalLogger) -> dict[str, float]:
    logged = logger.latest if trainer.world_size > 1 else {}  # else every step's, not only those journalled
    figures = {name: logged.get(name, float(value)) for name, value in trainer.callback_metrics.items() if "/" in name}
    parameters = sum(p.numel() for p in network(experiment.task).parameters())
    if os.environ.get("STEPLADDER_COMPILE") == "1":
        figures["compiled_graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return figures | {"seconds": clock.seconds, "steps": trainer.global_step, "parameters": parameters}


def _export(experiment: Experiment, weights: dict[str, torch.Tensor], folder: Path, figures: dict[str, float]) -> None:
    model = network(experiment.task)
    kept = dict(model.named_parameters()) | dict(model.named_buffers())  # a tied weight is stored once
    save_file({name: w.contiguous() for name, w in weights.items() if name in kept}, folder / "model.safetensors")
    (folder / "config.json").write_text(experiment.task.description.to_json())
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    for name, file in experiment.files.items():
        (folder / name).write_bytes(file.read_bytes())


def main(folder: Path) -> int:
    """Train, and say how it ended by the exit code: 0, 2 for a user's error, 130 interrupted, 143 terminated.

    The sentence of a user's error is left in ``folder/error.txt``, since under ``torchrun`` exit codes get lost.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch")
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" and (folder / "error.txt").exists():
        return 2  # what the user has to mend is not mended by another attempt
    try:
        train(folder)
    except UserError as error:
        (folder / "error.txt").write_text(str(error))
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"stepladder: The disk of {folder} is full; free some space and run the same command again: "
              "it goes on from the last checkpoint.", file=sys.stderr)  # fmt: skip
        return 2
    except SIGTERMException:
        return 143
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(Path(sys.argv[1])))
