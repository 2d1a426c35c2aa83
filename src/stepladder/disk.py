"""Keeps a disk budget: removes checkpoints of unfinished trainings, the oldest first, then weights that only make sweeps faster.

``STEPLADDER_DISK_GB`` bounds ``.checkpoints/`` and ``sweeps/*/models/`` together. Folders in use, outputs that a DVC file
names and the models of registered versions are never removed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from stepladder import history, project
from stepladder.errors import UserError

BUDGET = "STEPLADDER_DISK_GB"


@dataclass(frozen=True)
class Kept:
    """A folder that may be pruned: a name for people, its bytes, and when it was last written."""

    folder: Path
    what: str
    size: int
    written: float
    unfinished: bool


def budget() -> int | None:
    """The budget in bytes; ``None`` where the environment sets none."""
    value = os.environ.get(BUDGET, "")
    if not value:
        return None
    try:
        gigabytes = float(value)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise UserError(f"{BUDGET}={value!r} is not a number of gigabytes, 0 or more.")
    return int(gigabytes * 1e9)


def prune(allowed: int, log: Callable[[str], None], registered: Callable[[], set[str]], *, dry: bool = False) -> int:
    """Remove folders until at most ``allowed`` bytes are left, with a line of ``log`` for each; returns the bytes removed.

    ``registered``: returns the runs of registered models; called only before a finished model would be removed.
    """
    folders = sorted(prunable(), key=lambda kept: (not kept.unfinished, kept.written))
    total, freed = sum(kept.size for kept in folders), 0
    log(f"{len(folders)} folders, {_size_text(total)} of {_size_text(allowed)}")
    tracked, runs = _named_by_dvc(), None
    for kept in folders:
        if total - freed <= allowed:
            break
        if any(
            kept.folder.resolve().is_relative_to(out) or out.is_relative_to(kept.folder.resolve()) for out in tracked
        ):
            log(f"keeps    {kept.what}: a DVC file names it")
            continue
        if not kept.unfinished:
            runs = registered() if runs is None else runs
            if _run_id(kept.folder) in runs:
                log(f"keeps    {kept.what}: it is registered")
                continue
        if not _remove(kept, dry):
            log(f"keeps    {kept.what}: it is in use")
            continue
        freed += kept.size
        log(f"{'would remove' if dry else 'removes '} {kept.what}, {_size_text(kept.size)}")
    if total - freed > allowed:
        log(f"{_size_text(total - freed)} are left, more than the {_size_text(allowed)} allowed: nothing else may go")
    return freed


def prunable() -> Iterator[Kept]:
    """All folders that the budget counts."""
    for folder in sorted(project.checkpoints().glob("*/")):
        yield _kept(folder, f"unfinished {_name(folder)}, .checkpoints/{folder.name}", unfinished=True)
    for folder in sorted(project.root().glob("sweeps/*/models/*/")):
        yield _kept(folder, f"model {folder.relative_to(project.root())}", unfinished=False)


def _kept(folder: Path, what: str, *, unfinished: bool) -> Kept:
    size, written = 0, 0.0
    for file in folder.rglob("*"):
        with suppress(OSError):  # a checkpoint is being replaced
            state = file.stat()
            size, written = size + (state.st_size if file.is_file() else 0), max(written, state.st_mtime)
    return Kept(folder, what, size, written or folder.stat().st_mtime, unfinished)


def _remove(kept: Kept, dry: bool) -> bool:
    """Remove the folder unless a training, or a sweep's child, holds its lock."""
    file = kept.folder.with_suffix(".lock")
    was_there, lock = file.exists(), FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        if not dry:
            shutil.rmtree(kept.folder, ignore_errors=True)
    finally:
        if not was_there:
            file.unlink(missing_ok=True)
        lock.release()
    return True


def _name(folder: Path) -> str:
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        return f"{spec['name']} ({spec['header']['run_name']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "training"


def _run_id(folder: Path) -> str:
    try:
        return str(history.run(folder).get("run_id"))
    except UserError:
        return ""


def _named_by_dvc() -> list[Path]:
    """The outputs that ``dvc.lock`` and ``*.dvc`` files name, in the project and in the folders of ``prunable``."""
    root = project.root()
    files = [*root.glob("dvc.lock"), *root.glob("*/dvc.lock"), *root.glob("*/*/dvc.lock")]
    files += [*root.glob("*.dvc"), *root.glob(".checkpoints/*.dvc"), *root.glob("sweeps/**/*.dvc")]
    outs: list[Path] = []
    for file in files:
        if not file.is_file():
            continue
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        stages = content.get("stages", {}).values() if file.name == "dvc.lock" else [content]
        for stage in stages:
            outs += [(file.parent / stage.get("wdir", ".") / out["path"]).resolve() for out in stage.get("outs", [])]
    return outs


def _size_text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
