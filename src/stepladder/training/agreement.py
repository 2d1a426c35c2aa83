"""What all ranks agree on before they start: which training it is, and from which checkpoint they go on.

Only rank 0 chooses. It sends the checkpoint to a node that lacks it because they share no folder.
"""

from __future__ import annotations

import atexit
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from stepladder.errors import UserError
from stepladder.training.checkpoint import newest

CHUNK = 64 * 2**20  # bytes


@dataclass(frozen=True)
class Choice:
    """Rank 0's choice in the training ``key``: the checkpoint ``name``, ``None`` to begin, or an ``error``."""

    key: str
    name: str | None = None
    checksums: str = ""
    error: str = ""


def agreed_checkpoint(folder: Path, key: str) -> Path | None:
    """The checkpoint in ``folder`` from which every rank goes on, ``None`` to begin.

    Raises:
        UserError: on every rank: no checkpoint can be read, or the ranks are not of the same training ``key``.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return newest(folder)
    rank = _init_process_group()
    choice: Choice = _from_rank_0(_choose(folder, key) if rank == 0 else None)
    others = [None] * dist.get_world_size()
    dist.all_gather_object(others, key)
    if different := [i for i, other in enumerate(others) if other != choice.key]:
        raise UserError(
            f"The ranks {', '.join(map(str, different))} are of another training than rank 0: parameters, prepared data or "
            "code are not the same on all nodes; bring them to the same commit and `dvc pull`."
        )
    if choice.error:
        raise UserError(choice.error)
    if choice.name is None:
        return None
    path = folder / choice.name
    _copy_to_nodes(path, choice.checksums)
    return path


def _init_process_group() -> int:
    """Make the process group of all ranks, in which Lightning then trains; the number of this rank."""
    store, rank, size = next(dist.rendezvous("env://"))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # it outlives ranks, and keeps addresses of dead ones
        store = dist.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    atexit.register(lambda: dist.is_initialized() and dist.destroy_process_group())
    number: int = rank
    return number


def _choose(folder: Path, key: str) -> Choice:
    try:
        path = newest(folder)
    except UserError as error:
        return Choice(key, error=str(error))
    return Choice(key, path.name, _checksums(path)) if path else Choice(key)


def _copy_to_nodes(path: Path, checksums: str) -> None:
    """Copy the file ``path`` of rank 0 to every node whose file is another or missing."""
    lacks = os.environ["LOCAL_RANK"] == "0" and (not path.exists() or _checksums(path) != checksums)
    lacking = [False] * dist.get_world_size()
    dist.all_gather_object(lacking, lacks)
    if not any(lacking):
        return
    size = _from_rank_0(path.stat().st_size if dist.get_rank() == 0 else None)
    fresh = path.with_suffix(".new")
    sends, receives = dist.get_rank() == 0, lacks
    with path.open("rb") if sends else fresh.open("wb") if receives else open(os.devnull, "rb") as file:
        for first in range(0, size, CHUNK):
            chunk = bytearray(file.read(CHUNK) if sends else min(CHUNK, size - first))
            tensor = torch.frombuffer(chunk, dtype=torch.uint8).to("cuda" if torch.cuda.is_available() else "cpu")
            dist.broadcast(tensor, src=0)
            if receives:
                file.write(tensor.cpu().numpy().tobytes())
    if lacks:
        os.replace(fresh, path)
    dist.barrier()


def _checksums(path: Path) -> str:
    """Checksums of the checkpoint's parts from the archive's directory, without reading them; empty if damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return " ".join(f"{part.CRC:x}" for part in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return ""


def _from_rank_0(value: Any) -> Any:
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]
