"""Starts a training as a process of its own, forwards its journal, and puts the finished model in place.

State lives in ``.checkpoints/KEY/``, KEY being the content of (spec, data, code): whoever launches the same training
again goes on where it stopped. What does not change the result comes from the environment: see ``processes``,
``STEPLADDER_CHECKPOINT_SECONDS``, ``STEPLADDER_TRACKING``, ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stepladder import disk, project, slots
from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import Params, flatten
from stepladder.tracking import lineage, store
from stepladder.tracking.follow import Follower
from stepladder.training import processes
from stepladder.training.families import FAMILIES

FREE_BYTES = 300_000_000
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Child:
    """Of a sweep: the sweep's name, what it sweeps (for people), and this child's name in it."""

    sweep: str
    space: dict[str, str]
    name: str


def train(
    family: str,
    params: Params,
    data: Path,
    out: Path,
    *,
    timesteps: int | None = None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> int:
    """Train ``family`` on the prepared ``data`` and put the model in ``out``; returns the exit code.

    ``study``: the name of the study and of its arm that this training is for; ``child``: which child of a sweep it is.

    On several nodes, each calls this; node 0 alone has the state, the tracking and the model. The others have a folder of
    their own while they train, but for an elastic training, whose ranks move between nodes and whose folder is shared.

    Raises ``UserError`` before any work when the tracking store that the environment names does not answer, the disk
    is nearly full, or the same training already runs.
    """
    world = processes.world()
    if world.node == 0:
        store.check()
    header = _header(family, params, data, timesteps, study, child)
    own = project.checkpoints() / (header["key"] if world.node == 0 else f"{header['key']}-node-{world.node}")
    folder = project.checkpoints() / header["key"] if world.elastic else own
    folder.mkdir(parents=True, exist_ok=True)
    _check_disk(folder)
    name = family if timesteps is None else f"{family} T={timesteps}"
    with _alone(own, header["run_name"]), slots.hold(f"train {name}") as held:
        if world.node == 0 and (allowed := disk.budget()) is not None:
            from stepladder.tracking import registry

            disk.prune(allowed, lambda line: print(f"disk: {line}", flush=True), registry.registered_runs)
        spec = {
            "family": family, "name": name, "params": params.model_dump(mode="json"), "timesteps": timesteps,
            "steps": FAMILIES[family].training(params).steps, "data": str(data.resolve()), "header": header,
        }  # fmt: skip
        _write_spec(folder / "spec.json", spec)
        if world.node == 0 and not (folder / "journal.jsonl").exists():  # else it goes on with what began elsewhere
            lineage.capture(folder / lineage.FOLDER, params)
        refused = folder / "error.txt"
        refused.unlink(missing_ok=True)
        follower = Follower(folder / "journal.jsonl", header) if world.node == 0 else None
        if follower:
            follower.start()
        code = processes.run(processes.command(folder, world, header["key"]), held)
        run = follower.finish({0: "FINISHED", 130: "KILLED", 143: "KILLED"}.get(code, "FAILED")) if follower else {}
        if refused.exists() and code:
            raise UserError(refused.read_text())
        if code == 0 and follower:
            _finish(folder, out, header, run)
        elif code == 0 and folder == own:
            shutil.rmtree(folder)
    return code


def identity(
    family: str,
    params: Params,
    data: Path,
    *,
    timesteps: int | None = None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> str:
    """The key of that training: equal exactly where spec, data and code are; a model's is in its ``run.json``."""
    return str(_header(family, params, data, timesteps, study, child)["key"])


def _write_spec(file: Path, spec: dict[str, Any]) -> None:
    """In one stroke: another node may be reading the one that is there, which says the same."""
    fresh = file.with_name(f"{file.name}.{socket.gethostname()}.{os.getpid()}")
    fresh.write_text(json.dumps(spec, indent=2))
    os.replace(fresh, file)


def _finish(folder: Path, out: Path, header: dict[str, Any], run: dict[str, Any]) -> None:
    """Put the model with its history in ``out``, and remove the state."""
    model = folder / "model"
    figures = json.loads((model / "figures.json").read_text())
    (model / "figures.json").unlink()
    origin = {"git_commit": header["git_commit"], "key": header["key"], "data_hash": header["data"]["content_hash"]}
    (model / "run.json").write_text(json.dumps(run | origin | {"figures": figures}, indent=2) + "\n")
    for name in ("journal.jsonl", "previews", lineage.FOLDER):
        if (folder / name).exists():
            shutil.move(folder / name, model / name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists():
        shutil.rmtree(out)
    shutil.move(model, out)
    shutil.rmtree(folder)


def _header(
    family: str,
    params: Params,
    data: Path,
    timesteps: int | None,
    study: Sequence[str] = (),
    child: Child | None = None,
) -> dict[str, Any]:
    card = read_card(data)
    leaves = flatten(params)
    relevant = {k: v for k, v in leaves.items() if k.split(".")[0] in FAMILIES[family].sections}
    content = [family, relevant, card["content_hash"], project.code_hash("data", "training", *FAMILIES[family].code)]
    if base := FAMILIES[family].base(params):  # what counts is which weights it starts from, not where they are
        content[1] = {k: v for k, v in relevant.items() if v != base} | {
            "base": project.file_hash(Path(base) / WEIGHTS)
        }
    experiment, run_name = f"{family}-{card['name']}", family if timesteps is None else f"T={timesteps}"
    sweep_key = _digest(*content) if timesteps is not None and not study else None
    if study:
        experiment, run_name = f"study-{study[0]}-{card['name']}", f"{study[1]} seed {params.seed}"
    if child:
        experiment, run_name = f"sweep-{child.sweep}-{card['name']}", child.name
        sweep_key = _digest("sweep", child.sweep, card["content_hash"])
    return {
        "family": family,
        "experiment": experiment,
        "run_name": run_name,
        "study": "/".join(study),
        "key": _digest(*content, timesteps, *study, *(["sweep", child.sweep] if child else [])),
        "sweep": {"name": child.sweep, "space": child.space} if child else None,
        "sweep_key": sweep_key,
        "params": relevant,
        "timesteps": timesteps,
        "seed": params.seed,
        "data": {"name": card["name"], "content_hash": card["content_hash"]},
        "git_commit": project.git_commit(),
        "git_dirty": project.git_dirty(),
        "dvc_lock": project.file_hash(project.root() / "dvc.lock"),
        "flow_run": lineage.flow_run(),
        "started": time.time(),
        "world_size": processes.world().size,
    }


def _digest(*content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise UserError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free and a training needs {FREE_BYTES / 1e6:.0f} MB; "
            "free some space (`dvc gc -w` removes what the cache no longer needs)."
        )


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"This very training ({name}) already runs in another process; wait for it, or end it."
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
