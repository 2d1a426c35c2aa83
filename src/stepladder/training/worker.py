"""The training process: one on a single device, one a rank under ``torchrun``.

``python -m stepladder.training.worker FOLDER`` trains what ``FOLDER/spec.json`` says, resuming from ``FOLDER/last.ckpt``
where there is one, and leaves the model in ``FOLDER/model/``. It uses no scheduler, pipeline or tracking server.
``STEPLADDER_COMPILE=1`` compiles the network: minutes at the start for a faster step. ``STEPLADDER_DETERMINISTIC=0`` lets a
GPU use faster kernels whose sums differ in the last bits from run to run.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import TypedDict

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from stepladder import lineage
from stepladder.errors import UserError
from stepladder.journal.logger import JournalLogger
from stepladder.journal.progress import Clock, progress
from stepladder.journal.record import Header, Journal
from stepladder.params import build
from stepladder.processes import die_with_parent
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.randomness import mix
from stepladder.training.agreement import agreed_checkpoint
from stepladder.training.best import stored
from stepladder.training.checkpoint import finished_steps
from stepladder.training.course import Course, Stream, trainer
from stepladder.training.families import FAMILIES
from stepladder.training.sharding import gather_full
from stepladder.values import Values


class Spec(TypedDict):
    """``spec.json``: the training to be run, and the header of its journal."""

    family: str
    name: str  # for people
    params: Values  # all, as sections
    timesteps: int | None
    steps: int
    data: str  # folder
    header: Header


def train(folder: Path) -> None:
    """Train to the end what ``folder/spec.json`` says; rank 0 writes the model, its figures and the journal."""
    spec: Spec = json.loads((folder / "spec.json").read_text())
    params, family = build(spec["params"]), spec["family"]
    training = FAMILIES[family].training(params)
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    checkpoint = agreed_checkpoint(folder, spec["header"].get("key", ""))
    start = finished_steps(checkpoint) if checkpoint else 0

    torch.manual_seed(mix(params.seed))
    options = {} if spec["timesteps"] is None else {"timesteps": spec["timesteps"]}
    experiment: Experiment = import_module(FAMILIES[family].module).experiment(
        params, Path(spec["data"]), rank=rank, world_size=world_size, **options
    )
    if rank == 0:
        lineage.capture_environment(folder / lineage.FOLDER)
    header: Header = {**spec["header"], "environment": lineage.deciding()}
    journal = Journal(folder / "journal.jsonl", header) if rank == 0 else None
    trained = sum(p.numel() for p in experiment.task.parameters() if p.requires_grad)  # a discriminator's too
    unfreeze, clock, logger = FAMILIES[family].unfreeze(params), Clock(), JournalLogger(journal)
    course = Course(spec["name"], folder, experiment, training, params.seed, rank, unfreeze, journal)
    callbacks = [course, course.best, course.average, clock, progress(spec["name"])]  # ``course`` calls the next two
    loop = trainer(folder, experiment.task, training, world_size, logger, callbacks)
    if os.environ.get("STEPLADDER_COMPILE") == "1":
        experiment.task.compile_model()
    if journal is not None and experiment.figures:
        journal.metrics(0, experiment.figures)
    if rank == 0 and start:
        print(f"{spec['name']}: resumes at step {start} of {training.steps}", flush=True)
    loop.fit(
        experiment.task,
        Stream(experiment.draw, start * training.accumulate),
        DataLoader(experiment.validation, batch_size=None),  # type: ignore[arg-type]
        ckpt_path=checkpoint if start else None,
        weights_only=True,
    )
    if loop.global_step < training.steps and not course.best.stopped:
        raise KeyboardInterrupt
    course.choose_weights(loop)
    if loop.is_global_zero:
        (folder / "model").mkdir(exist_ok=True)
        experiment.task.finish(folder / "model")
    weights = {name: gather_full(tensor).cpu() for name, tensor in stored(experiment.task.model).items()}
    if loop.is_global_zero:
        figures = _metrics(experiment, loop, clock, logger) | {"trained_parameters": trained} | experiment.figures
        figures |= course.best.figures | ({"best_step": course.best.step} if course.best.figures else {})
        _export(experiment, weights, folder / "model", figures)
    # A rank that dies while the model is written has not passed the first: the second fails on all others.
    for _ in range(2):
        loop.strategy.barrier()


def _metrics(experiment: Experiment, loop: pl.Trainer, clock: Clock, logger: JournalLogger) -> dict[str, float]:
    logged = logger.latest if loop.world_size > 1 else {}  # else every step's, not only those journalled
    figures = {name: logged.get(name, float(value)) for name, value in loop.callback_metrics.items() if "/" in name}
    parameters = sum(p.numel() for p in experiment.task.model.parameters())
    if os.environ.get("STEPLADDER_COMPILE") == "1":
        figures["compiled_graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    return figures | {"seconds": clock.seconds, "steps": loop.global_step, "parameters": parameters}


def _export(experiment: Experiment, weights: dict[str, torch.Tensor], folder: Path, figures: dict[str, float]) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(experiment.task.description.to_json())
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    for name, file in experiment.files.items():
        (folder / name).write_bytes(file.read_bytes())


def main(folder: Path) -> int:
    """Train; the exit code says how it ended: 0, 2 for a user's error, 130 interrupted, 143 terminated.

    The sentence of a user's error is left in ``folder/error.txt``, since under ``torchrun`` exit codes get lost.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch")
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" and (folder / "error.txt").exists():
        return 2  # another attempt does not repair a user's error
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
