"""Device slots: they limit how many trainings and evaluations run at once on this machine, in all shells, flows and clones.

A slot is a locked file in a folder for this host and user. A process that takes slots holds an exclusive lock on ``queue`` while
it takes all that it needs or none, so that two processes that want two each do not wait for each other; then it holds a shared
lock on each. Its child processes share them, by the inherited file or by the slots' names in ``STEPLADDER_HOLDS``, and take no
others. A slot is free when the last process that works in it has ended, in whatever way, and not before.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from stepladder.errors import UserError

HOLDS = "STEPLADDER_HOLDS"
SECONDS_BETWEEN = 0.2


@dataclass(frozen=True)
class Slot:
    """One slot; ``device``: the GPU as ``CUDA_VISIBLE_DEVICES`` names it, ``None``: a share of the processor."""

    name: str
    device: str | None = None


@dataclass(frozen=True)
class Held:
    """Slots of a process; ``handles`` keep them taken in every process that inherits them.

    ``environment``: variables that make a process use these slots: their devices or their share of the processor.
    """

    slots: tuple[Slot, ...]
    handles: tuple[int, ...]
    environment: dict[str, str]


def number() -> int:
    """``STEPLADDER_SLOTS``, else ``STEPLADDER_SLOTS_PER_DEVICE`` for each GPU, else one for all cores of the processor."""
    total, per_device = _count("STEPLADDER_SLOTS", 0), _count("STEPLADDER_SLOTS_PER_DEVICE", 1)
    return total or len(gpus()) * per_device or 1


def devices() -> int:
    """``STEPLADDER_DEVICES``: the ranks of a training on this machine, each on a separate device."""
    return _count("STEPLADDER_DEVICES", 1)


def _count(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    if value and (not value.isdecimal() or int(value) == 0):
        raise UserError(f"{variable}={value!r} is not a number of {variable.split('_')[1].lower()}, 1 or more.")
    return int(value) if value else default


def all_slots() -> list[Slot]:
    """The slots of this machine, those on different devices first."""
    if not gpus():
        return [Slot(f"cpu-{index}") for index in range(number())]
    named = [(device, _identity(device)) for device in gpus()]
    turns = [divmod(index, len(named)) for index in range(number())]
    return [Slot(f"{named[place][1]}-{share}", named[place][0]) for share, place in turns]


@cache
def gpus() -> tuple[str, ...]:
    """The GPUs this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return tuple(name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1"))
    return tuple(_listed())


@cache
def _listed() -> dict[str, str]:
    """UUID by index of the GPUs that the driver lists."""
    try:
        output = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(re.findall(r"^GPU (\d+): .*\(UUID: (GPU-[^)]+)\)", output, re.MULTILINE))


def _identity(device: str) -> str:
    """A name for a GPU that is the same for its index and its UUID."""
    return re.sub(
        r"[^\w-]", "_", _listed().get(device, device if device.startswith(("GPU-", "MIG-")) else f"gpu-{device}")
    )


def folder() -> Path:
    """The folder of the locks: ``STEPLADDER_SLOTS_FOLDER``, else one for this host in the user's cache folder."""
    named = os.environ.get("STEPLADDER_SLOTS_FOLDER")
    if named:
        return Path(named)
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not os.access(cache_home if cache_home.exists() else cache_home.parent, os.W_OK):
        cache_home = Path(tempfile.gettempdir()) / f"stepladder-{os.getuid()}"
    return cache_home / "stepladder" / "slots" / (platform.node() or "localhost")


@contextmanager
def hold(what: str, wanted: int | None = None, log: Callable[[str], None] = print) -> Iterator[Held]:
    """Share the slots that the environment names, else wait for ``wanted`` free ones (default: ``devices()``); hold them.

    ``what`` tells other processes the purpose. On the processor, ranks beyond the number of slots share them.

    Raises:
        UserError: there are fewer devices than wanted.
    """
    held = _join() or _acquire(what, devices() if wanted is None else wanted, log)
    try:
        yield held
    finally:
        for handle in held.handles:
            os.close(handle)


@contextmanager
def occupy(what: str, wanted: int | None = None) -> Iterator[None]:
    """``hold`` for work in this process and its children: call it before torch is imported."""
    with hold(what, wanted) as held:
        before = {name: os.environ.get(name) for name in held.environment}
        os.environ.update(held.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def for_jobs(jobs: int) -> dict[str, str]:
    """The environment variables with which ``jobs`` children of this process can work at once on the processor.

    Empty where there are GPUs, or where ``STEPLADDER_SLOTS`` says how many are to work at once.
    """
    return {} if gpus() or os.environ.get("STEPLADDER_SLOTS") else {"STEPLADDER_SLOTS": str(max(jobs, number()))}


class Holder(TypedDict):
    """The content of a slot's file: the process that holds it."""

    pid: int | str  # "?": it is just being taken
    what: str
    since: float  # unix seconds
    folder: str


@dataclass(frozen=True)
class Use:
    """A slot and its holder, ``None`` where it is free."""

    slot: Slot
    holder: Holder | None

    def __str__(self) -> str:
        if self.holder is None:
            return f"{self.slot.name}: free"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.holder["since"]))
        return f"{self.slot.name}: {self.holder['what']}, process {self.holder['pid']} in {self.holder['folder']}, since {since}"


def uses() -> list[Use]:
    """Every slot of this machine with its holder, including slots that were taken under another ``STEPLADDER_SLOTS``."""
    known = {slot.name: slot for slot in all_slots()}
    others = [Slot(file.stem) for file in sorted(folder().glob("*.lock")) if file.stem not in known]
    every = [Use(slot, _holder(slot)) for slot in (*known.values(), *others)]
    return [use for use in every if use.holder or use.slot.name in known]


def _holder(slot: Slot) -> Holder | None:
    file = folder() / f"{slot.name}.lock"
    if not file.exists():
        return None
    handle = _lock(file, fcntl.LOCK_EX)
    if handle is not None:
        os.close(handle)
        return None
    try:
        holder: Holder = json.loads(file.read_text(encoding="utf-8"))
        return holder
    except ValueError:
        return {"pid": "?", "what": "just taken", "since": time.time(), "folder": "?"}


def _lock(file: Path, kind: int) -> int | None:
    """The handle of ``file``, locked; ``None`` where another process holds the lock."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _join() -> Held | None:
    """The slots that this process shares with the process that started it; ``None`` where there are none."""
    names = [name for name in os.environ.get(HOLDS, "").split(",") if name]
    handles: list[int] = []
    for name in names:
        file = folder() / f"{name}.lock"
        handle = _lock(file, fcntl.LOCK_SH) if file.exists() else None
        if handle is None:  # its holder has ended, and another process has it
            for taken in handles:
                os.close(taken)
            return None
        handles.append(handle)
    return Held(tuple(map(Slot, names)), tuple(handles), {HOLDS: ",".join(names)}) if names else None


def _acquire(what: str, wanted: int, log: Callable[[str], None]) -> Held:
    known = all_slots()
    if not gpus():
        wanted = min(wanted, len(known))
    elif wanted > (available := len({slot.device for slot in known})):
        raise UserError(
            f"{what} wants {wanted} devices (STEPLADDER_DEVICES) and may use {available}; take at most that many."
        )
    folder().mkdir(parents=True, exist_ok=True)
    queue, is_announced = None, False
    try:
        while True:
            queue = queue or _lock(folder() / "queue", fcntl.LOCK_EX)
            handles = _all_or_none(known, wanted) if queue else None
            if handles:
                break
            if not is_announced:
                log(f"waiting for {'a device slot' if wanted == 1 else f'{wanted} device slots'}: "
                    f"{'; '.join(str(use) for use in uses() if use.holder) or 'others wait already'}")  # fmt: skip
                is_announced = True
            time.sleep(SECONDS_BETWEEN)
        holder: Holder = {"pid": os.getpid(), "what": what, "since": time.time(), "folder": str(Path.cwd())}
        for handle in handles.values():
            with suppress(OSError):  # a full disk
                os.truncate(handle, 0)
                os.pwrite(handle, json.dumps(holder).encode(), 0)
            fcntl.flock(handle, fcntl.LOCK_SH)  # for children; no other can take it meanwhile: the queue is held
    finally:
        if queue is not None:
            os.close(queue)
    return Held(tuple(handles), tuple(handles.values()), _environment(tuple(handles), len(known)))


def _all_or_none(known: list[Slot], wanted: int) -> dict[Slot, int] | None:
    """The handles of ``wanted`` free slots, on different devices; ``None``, with none held, where there are not enough."""
    handles: dict[Slot, int] = {}
    for slot in known:
        if slot.device is not None and slot.device in {other.device for other in handles}:
            continue
        handle = _lock(folder() / f"{slot.name}.lock", fcntl.LOCK_EX)
        if handle is not None:
            handles[slot] = handle
        if len(handles) == wanted:
            return handles
    for handle in handles.values():
        os.close(handle)
    return None


def _environment(slots: tuple[Slot, ...], count: int) -> dict[str, str]:
    names = {HOLDS: ",".join(slot.name for slot in slots)}
    if slots[0].device is not None:
        return names | {"CUDA_VISIBLE_DEVICES": ",".join(slot.device or "" for slot in slots)}
    if count == 1:
        return names
    threads = str(max(1, (os.cpu_count() or 1) // count))
    return names | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
