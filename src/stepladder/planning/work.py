"""The work that lies ahead, piece by piece: stages of ``dvc.yaml``, cells of a study, or children of a sweep."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stepladder import project
from stepladder.errors import UserError
from stepladder.params import Params, load
from stepladder.studies import cell
from stepladder.studies import spec as study_spec
from stepladder.sweeps import spec as sweep_spec
from stepladder.sweeps.child import Child, Places
from stepladder.training import launch
from stepladder.training.families import FAMILIES

State = Literal["up to date", "restored from the cache", "resumes", "runs"]
APART = ("studies", "adaptation", "guidance")


@dataclass(frozen=True)
class Training:
    """A training; ``done`` of its ``steps`` are behind a checkpoint."""

    family: str
    params: Params
    data: Path
    timesteps: int | None
    done: int = 0

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return FAMILIES[self.family].training(self.params).steps


@dataclass(frozen=True)
class Piece:
    """One piece of work. ``why`` it is in this state; ``training`` that it contains, where it is to be done."""

    name: str
    state: State
    why: str = ""
    training: Training | None = None


def of_stages(targets: Sequence[str], places: Places) -> list[Piece]:
    """The stages of ``dvc.yaml`` that ``targets`` need (none: all), in the order in which they run.

    Raises:
        UserError: DVC is missing, cannot read its files, or knows no such stage.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from networkx import ancestors, lexicographical_topological_sort
    except ImportError:
        raise UserError(
            "DVC is not installed; `make repro` sets it up, or pip install 'stepladder[pipeline]'."
        ) from None
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(project.root())) as repo, repo.lock:
            graph = repo.index.graph.reverse()
            if targets:
                wanted = {stage for target in targets for stage in repo.stage.collect(target)}
                wanted |= {need for stage in wanted for need in ancestors(graph, stage)}
            else:
                wanted = {s for s in graph if Path(s.path).relative_to(repo.root_dir).parts[0] not in APART}
            place = {stage: number for number, stage in enumerate(repo.index.stages)}
            pieces: dict[Any, Piece] = {}
            for stage in lexicographical_topological_sort(graph, key=place.__getitem__):
                if stage in wanted and getattr(stage, "cmd", None):
                    before = [pieces[need] for need in graph.predecessors(stage) if need in pieces]
                    pieces[stage] = _stage(repo, stage, before, places)
            return list(pieces.values())
    except DvcException as error:
        raise UserError(f"DVC cannot tell what is to be done: {' '.join(str(error).split())}.") from None


def _stage(repo: Any, stage: Any, before: Sequence[Piece], places: Places) -> Piece:
    name = str(stage.addressing)
    first = [piece.name for piece in before if piece.state in ("runs", "resumes")]
    if not first:
        changes = [change for changes in stage.status(check_updates=True).values() for change in changes]
        if not changes:
            return Piece(name, "up to date")
        if _is_restored(repo, stage):
            return Piece(name, "restored from the cache")
        why = ", ".join(sorted({what if isinstance(what, str) else next(iter(what)) for what in changes}))
    else:
        why = f"after {', '.join(first[:3])}{' and others' if len(first) > 3 else ''}"
    words = shlex.split(stage.cmd if isinstance(stage.cmd, str) else stage.cmd[0])
    if words[:2] != ["stepladder", "train"]:
        return Piece(name, "runs", why)
    timesteps = int(words[words.index("--timesteps") + 1]) if "--timesteps" in words else None
    training = Training(words[2], load(), places.data(words[2]), timesteps)
    return _trained(name, training, why, {})


def _is_restored(repo: Any, stage: Any) -> bool:
    """Whether DVC has its results: of what it depends on now, or, where that is itself to be restored, of what ``dvc.lock`` says."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    if all(dep.exists for dep in stage.deps):
        recorded = not stage.changed_stage() and stage.deps_cached() and all(out.hash_info for out in stage.outs)
        try:
            if not recorded:  # then the run-cache decides, by what the stage depends on now
                stage.save_deps()
                for out in stage.outs:
                    out.hash_info = HashInfo()
            repo.stage_cache.restore(stage, dry=True)
            return True
        except (DvcException, OSError):
            return False
    there = all(dep.exists or dep.hash_info for dep in stage.deps)
    same = not any(dep.exists and dep.changed_checksum() for dep in stage.deps if dep.protocol == "local")
    return bool(there and same and not stage.changed_stage() and not any(out.changed_cache() for out in stage.outs))


def of_study(name: str, places: Places) -> list[Piece]:
    """The cells of the study ``name``."""
    study, pieces = study_spec.read(name), []
    for seed in study.seeds:
        for arm, given in study.arms.items():
            training = Training(given.family, study.params(arm, seed), places.images, given.timesteps or None)
            pieces.append(
                _kept(f"{arm} seed {seed}", training, cell.folder(name, arm, seed) / "model", {"study": (name, arm)})
            )
    return pieces


def of_sweep(name: str, places: Places) -> list[Piece]:
    """The children of the sweep ``name``; of Optuna's that are still to be chosen one in the middle of the space stands for each."""
    sweep, pieces = sweep_spec.read(name), []
    points = sweep.points()
    if sweep.method == "optuna":
        files = sorted(sweep_spec.folder(name).glob("points/*.json"))
        points = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for seed in sweep.seeds:
        for point in points:
            child = Child(name, sweep, point, seed, places)
            timesteps = sweep.timesteps_of(point)
            training = Training(sweep.family, sweep.params(point, seed), places.data(sweep.family), timesteps)
            outcome = child.outcome()
            if not (training.data / "card.json").exists():
                pieces.append(Piece(child.title, "runs", "its data is not prepared yet", training))
            elif child.finished():
                pieces.append(Piece(child.title, "up to date"))
            elif outcome.get("status") == "pruned":
                pieces.append(Piece(child.title, "up to date", f"pruned: {outcome['why']}"))
            elif (child.model / "run.json").exists():
                pieces.append(Piece(child.title, "runs", "its model is there and is judged"))
            else:
                pieces.append(_trained(child.title, training, "", {"child": launch.Child(name, {}, "")}))
    if sweep.method == "optuna":
        middle = {dimension.key: dimension.at(0.5) for dimension in sweep.dimensions}
        training = Training(
            sweep.family, sweep.params(middle, sweep.seeds[0]), places.data(sweep.family), sweep.timesteps_of(middle)
        )
        for number in range(len(points), sweep.trials):
            for seed in sweep.seeds:
                pieces.append(Piece(f"trial {number}, seed {seed}", "runs", "Optuna chooses the point", training))
    return pieces


def _kept(name: str, training: Training, model: Path, which: dict[str, Any]) -> Piece:
    made = model / "run.json"
    if made.exists() and (training.data / "card.json").exists():
        key = launch.identity(training.family, training.params, training.data, timesteps=training.timesteps, **which)
        if json.loads(made.read_text(encoding="utf-8"))["key"] == key:
            return Piece(name, "up to date", "its model; it is judged again where that has changed")
    return _trained(name, training, "", which)


def _trained(name: str, training: Training, why: str, which: dict[str, Any]) -> Piece:
    """A training that is to be done: from its checkpoint where there is one."""
    if not (training.data / "card.json").exists():
        return Piece(name, "runs", why or "its data is not prepared yet", training)
    key = launch.identity(training.family, training.params, training.data, timesteps=training.timesteps, **which)
    checkpoint = project.checkpoints() / key / "last.ckpt"
    if not checkpoint.exists():
        return Piece(name, "runs", why, training)
    from stepladder.training.checkpoint import finished_steps

    done = finished_steps(checkpoint)
    resumed = Training(training.family, training.params, training.data, training.timesteps, done)
    return Piece(name, "resumes", f"from step {done} of {training.steps}", resumed)


def trainings(pieces: Sequence[Piece]) -> Iterator[Training]:
    """Those that are to be done."""
    return (piece.training for piece in pieces if piece.training is not None)
