"""Device slots: how many stages may run at once on this machine, over all flows together.

A slot is a locked file in ``.slots/``. The lock belongs to the open file, which the stage's process inherits: a slot is
free when the last process that works in it is gone, however it went, and never before.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stepladder.errors import UserError

CORES_A_SLOT = 4


@dataclass(frozen=True)
class Slot:
    """The ``index``-th of ``count`` slots; ``handle`` keeps it taken in every process that inherits it."""

    index: int
    count: int
    handle: int

    def environment(self) -> dict[str, str]:
        """The devices, or the share of the processor, that belong to this slot."""
        if self.count == 1:
            return {}
        devices = gpus()
        if devices:
            return {"CUDA_VISIBLE_DEVICES": devices[self.index % len(devices)]}
        threads = str(max(1, (os.cpu_count() or 1) // self.count))
        return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}


def number() -> int:
    """``STEPLADDER_SLOTS``, else one a GPU, else one for every four processor cores, at least one."""
    given = os.environ.get("STEPLADDER_SLOTS", "")
    if given:
        if not given.isdigit() or given == "0":
            raise UserError(f"STEPLADDER_SLOTS={given!r} is not a number of device slots, 1 or more.")
        return int(given)
    return len(gpus()) or max(1, (os.cpu_count() or 1) // CORES_A_SLOT)


@cache
def gpus() -> tuple[str, ...]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return tuple(name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1"))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(i) for i, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU ")))


@contextmanager
def take(folder: Path, log: Callable[[str], None] = lambda line: None, seconds_between: float = 0.2) -> Iterator[Slot]:
    """Wait for a free slot, and hold it; ``folder`` holds the locks, and is one for all flows of the machine."""
    count = number()
    folder.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        for index in range(count):
            handle = os.open(folder / f"{index}.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            try:
                yield Slot(index, count, handle)
            finally:
                os.close(handle)
            return
        if not told:
            log(f"waiting for a device slot: {'the only one is' if count == 1 else f'all {count} are'} taken")
            told = True
        time.sleep(seconds_between)
