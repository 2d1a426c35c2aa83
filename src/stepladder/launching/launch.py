"""Starts a training as a separate process, forwards its journal, and puts the finished model in place.

State is in ``.checkpoints/KEY/``, where KEY is a hash of (spec, data, code): the same training, launched
again, resumes where it stopped. Settings that do not change the result come from the environment: see ``processes``,
``STEPLADDER_CHECKPOINT_SECONDS``, ``STEPLADDER_TRACKING``, ``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from filelock import FileLock, Timeout

from stepladder import dependencies, disk, history, lineage, plugins, processes, project, slots
from stepladder.data.card import facts, read_card
from stepladder.errors import UserError
from stepladder.journal.record import Header
from stepladder.launching.check import check
from stepladder.params import Params, flatten
from stepladder.tracking import health, runs
from stepladder.tracking.follow import Follower
from stepladder.training.families import FAMILIES

if TYPE_CHECKING:
    from stepladder.training.worker import Spec

FREE_BYTES = 300_000_000
WEIGHTS, FIGURES = "model.safetensors", "figures.json"


@dataclass(frozen=True)
class Child:
    """A child of a sweep: the sweep's name, what it varies (for people), and the child's name."""

    sweep: str
    space: dict[str, str]
    name: str


class Which(TypedDict, total=False):
    """Which of a family's trainings with the same parameters is meant, see ``train``."""

    timesteps: int | None
    study: Sequence[str]
    child: Child | None


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

    ``study``: names of the study and of the arm that the training belongs to; ``child``: which child of a sweep it is.

    On several nodes, each calls this; only node 0 has the state, the tracking and the model. Each other node has its own
    folder while it trains. An elastic training has one shared folder, because its ranks move between nodes.

    Raises ``UserError`` before any work when the data refuses the parameters, the tracking store that the environment names does
    not answer or refuses this user, the disk is nearly full, or the same training already runs.
    """
    world = processes.world()
    check(family, params, data, devices=world.size)
    if world.node == 0:
        health.check()
    header = _header(family, params, data, timesteps, study, child)
    own_folder = project.checkpoints() / (header["key"] if world.node == 0 else f"{header['key']}-node-{world.node}")
    folder = project.checkpoints() / header["key"] if world.elastic else own_folder
    folder.mkdir(parents=True, exist_ok=True)
    _check_disk(folder)
    name = family if timesteps is None else f"{family} T={timesteps}"
    with _exclusive(own_folder, header["run_name"]), slots.hold(f"train {name}") as held:
        if world.node == 0 and (allowed := disk.budget()) is not None:
            from stepladder.tracking import registry

            disk.prune(allowed, lambda line: print(f"disk: {line}", flush=True), registry.registered_runs)
        spec: Spec = {
            "family": family, "name": name, "params": params.model_dump(mode="json"), "timesteps": timesteps,
            "steps": FAMILIES[family].training(params).steps, "data": str(data.resolve()), "header": header,
        }  # fmt: skip
        _write_spec(folder / "spec.json", spec)
        if world.node == 0:  # a training that resumes keeps its first lineage, unless it has to start over
            has_begun = (folder / history.JOURNAL).exists()
            lineage.capture(folder / (lineage.ANEW if has_begun else lineage.FOLDER), params)
        refusal = folder / "error.txt"
        refusal.unlink(missing_ok=True)
        follower = Follower(folder / history.JOURNAL, header) if world.node == 0 else None
        if follower:
            follower.open()
            follower.start()
        code = processes.run(processes.command(folder, world, header["key"]), held)
        run = follower.finish({0: "FINISHED", 130: "KILLED", 143: "KILLED"}.get(code, "FAILED")) if follower else {}
        if refusal.exists() and code:
            raise UserError(refusal.read_text())
        if code == 0 and follower:
            _finish(folder, out, run)
        elif code == 0 and folder == own_folder:
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
    """The key of that training: equal only for equal spec, data and code; a model's key is in its ``training.json``."""
    return _header(family, params, data, timesteps, study, child)["key"]


def other_versions(model: Path) -> str:
    """A phrase that says which versions ``model`` was made with, if they differ from the installed ones; else empty."""
    if not (known := history.training(model)):
        return ""
    differing = lineage.differences(known.get("environment"), lineage.versions())
    return f"made with {differing}" if differing else ""


def _write_spec(file: Path, spec: Spec) -> None:
    """Write atomically: another node may be reading the present file, whose content is the same."""
    fresh = file.with_name(f"{file.name}.{socket.gethostname()}.{os.getpid()}")
    fresh.write_text(json.dumps(spec, indent=2))
    os.replace(fresh, file)


def _finish(folder: Path, out: Path, run: Mapping[str, object]) -> None:
    """Move the model to ``out`` and its history to ``.history/``, and remove the state."""
    model = folder / "model"
    figures = json.loads((model / FIGURES).read_text())
    header = runs.header_of(folder / history.JOURNAL)  # of the process that began it, not of one that resumed it
    history.keep(folder, model, header, run, figures)
    (model / FIGURES).unlink()
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
) -> Header:
    card = read_card(data)
    leaves = flatten(params)
    stage = FAMILIES[family].stage
    relevant = {key: value for key, value in leaves.items() if stage.is_read(key)}
    base = FAMILIES[family].base(params)
    custom = [*plugins.named(relevant), *(plugins.of_model(Path(base)) if base else [])]
    content = [family, relevant, facts(card), dependencies.code_hash(stage.code()), *plugins.code_hash(custom)]
    if base:  # the key has the weights that it starts from, not their path
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
def _exclusive(folder: Path, name: str) -> Iterator[None]:
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
