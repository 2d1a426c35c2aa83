"""Checkpoints by time and on exception. A kill at any moment leaves a complete one, and the one before is kept too."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from stepladder import lineage
from stepladder.errors import UserError
from stepladder.training.finite import Diverged

EVERY_SECONDS = float(os.environ.get("STEPLADDER_CHECKPOINT_SECONDS", 30))


LAST, PREVIOUS, DAMAGED, OTHER = "last.ckpt", "previous.ckpt", "damaged.ckpt", "other-versions.ckpt"
ENVIRONMENT = "stepladder_environment"
OF_A_START = ("journal.jsonl", "previews", "averaged", "best.safetensors")  # what a start leaves next to its checkpoint


class TimedCheckpoint:
    """Saves the full state to ``folder/last.ckpt``, between two steps, every ``EVERY_SECONDS`` and on an exception.

    A checkpoint is always of a finished step, whose number is all that a resumed training needs besides. The one
    before is kept as ``previous.ckpt``. Several ranks agree before every step whether it is time, and whether one got
    SIGTERM: then all save and end after the same step.

    Attributes:
        between_steps: whether the state can be resumed from; ``Course`` sets it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved_at, self._saved_step = time.monotonic(), 0
        self.between_steps = True
        self._stop_requested = False

    def begin(self, trainer: pl.Trainer) -> None:
        """Before the first step of this process."""
        self._saved_step = trainer.global_step
        for optimizer in trainer.optimizers:
            match_strides(optimizer)
        if trainer.world_size > 1:  # Lightning's own handler has each rank end after a step of its own
            signal.signal(signal.SIGTERM, self._request_stop)

    def save_if_due(self, trainer: pl.Trainer) -> None:
        """Before a micro-batch. Raises ``SIGTERMException``, after saving, where one of several ranks got SIGTERM."""
        due, end = time.monotonic() - self._saved_at >= EVERY_SECONDS, self._stop_requested
        if trainer.world_size > 1:
            due, end = _any_rank(due, end, device=trainer.strategy.root_device)
        if self.between_steps and (due or end):
            self._save(trainer)
            if end:
                raise SIGTERMException

    def save_after(self, trainer: pl.Trainer, exception: BaseException) -> None:
        """Save after an exception, unless the state is wrong or the disk is full."""
        full = isinstance(exception, OSError) and exception.errno == errno.ENOSPC
        if self.between_steps and trainer.world_size == 1 and not full and not isinstance(exception, Diverged):
            self._save(trainer)

    def _request_stop(self, *_: Any) -> None:
        self._stop_requested = True

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self._saved_step:
            return
        fresh, last = self.folder / "new.ckpt", self.folder / LAST
        try:
            trainer.save_checkpoint(fresh)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        if trainer.is_global_zero:
            if last.exists():
                os.replace(last, self.folder / PREVIOUS)
            os.replace(fresh, last)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step


def complete(checkpoint: dict[str, Any], trainer: pl.Trainer) -> None:
    """Uncount the micro-batch that was fetched and not trained on, which Lightning does for only one of two counters.

    Right after a validation also uncount the step that Lightning will count for the loop's round without a step. Add
    the versions and the kind of device.
    """
    checkpoint[ENVIRONMENT] = lineage.deciding()
    loop = checkpoint["loops"]["fit_loop"]
    total = loop["epoch_loop.batch_progress"]["total"]
    total["ready"] = total["started"] = total["completed"]
    if total["completed"] and total["completed"] % trainer.val_check_batch == 0:
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1


def match_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give moments their parameter's strides: sharded checkpoints have others, and fused kernels ignore strides."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)


def _any_rank(*flags: bool, device: torch.device) -> list[bool]:
    """For each flag, whether it is set on any rank."""
    tensor = torch.tensor(flags, dtype=torch.uint8, device=device)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in tensor.tolist()]


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint in ``folder``, ``None`` without any; a damaged one is renamed.

    One made under other versions, or on another kind of device, is renamed too, and all else of its start is removed: a
    training that went on from it would mix two environments.

    Raises:
        UserError: there are checkpoints, and none can be read.
    """
    problems: dict[Path, str] = {}
    for path in (folder / LAST, folder / PREVIOUS):
        if path.exists():
            try:
                verify(path)
            except UserError as error:
                problems[path] = str(error)
                continue
            for damaged, problem in problems.items():
                os.replace(damaged, folder / DAMAGED)
                print(f"{problem} The one before it, {path.name}, is used.", flush=True)
            if other := other_versions(path):
                step = finished_steps(path)
                print(f"The checkpoint of step {step} was made with {other}: the training begins anew.", flush=True)
                _begin_anew(folder, path)
                return None
            return path
    if problems:
        raise UserError(
            f"{' '.join(problems.values())} Nothing was changed: delete {folder} to train from the beginning, or put back an "
            "intact copy."
        )
    return None


def verify(path: Path) -> None:
    """Raise ``UserError`` where the checkpoint at ``path`` is damaged, by the checksums of its parts."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        finished_steps(path)
    except Exception as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    else:
        if damaged is None:
            return
        reason = f"its part {damaged} is not what was written"
    raise UserError(f"The checkpoint {path} cannot be read ({reason}).")


def _begin_anew(folder: Path, path: Path) -> None:
    """Remove what an earlier start left in ``folder``, its checkpoint ``path`` last, which is kept under another name."""
    for name in OF_A_START:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    if (folder / lineage.ANEW).is_dir():
        shutil.rmtree(folder / lineage.FOLDER, ignore_errors=True)
        os.replace(folder / lineage.ANEW, folder / lineage.FOLDER)
    if path.name == LAST:
        (folder / PREVIOUS).unlink(missing_ok=True)
    os.replace(path, folder / OTHER)


def other_versions(path: Path) -> str:
    """The versions and kind of device of the checkpoint at ``path`` that differ from this process; empty: none."""
    environment = torch.load(path, map_location="cpu", weights_only=True, mmap=True).get(ENVIRONMENT)
    return lineage.differences(environment, lineage.deciding())


def finished_steps(path: Path) -> int:
    """Number of optimiser steps that were finished at the checkpoint at ``path``."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
