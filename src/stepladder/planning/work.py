"""The work that lies ahead, piece by piece: stages of ``dvc.yaml``, cells of a study, or children of a sweep."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stepladder import history, project
from stepladder.data import source
from stepladder.errors import UserError
from stepladder.launching import launch
from stepladder.launching.check import check
from stepladder.params import Params, load
from stepladder.stages import training_of
from stepladder.studies import cell
from stepladder.studies import spec as study_spec
from stepladder.studies.checking import check_arm, check_data, guide_folder
from stepladder.sweeps import spec as sweep_spec
from stepladder.sweeps.checking import check_point
from stepladder.sweeps.child import Child, Places
from stepladder.training.families import FAMILIES

NOTED = tuple(f"{stage}@" for stage in source.STAGES)  # refreshed before a plan is made: nothing waits for them
State = Literal["up to date", "restored from the cache", "resumes", "runs"]


@dataclass(frozen=True)
class Training:
    """A training; its checkpoint has ``done`` of its ``steps``."""

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
    """One piece of work: its state, ``why`` it is in that state, and its ``training`` where that is to be done."""

    name: str
    state: State
    why: str = ""
    training: Training | None = None


def of_stages(targets: Sequence[str], places: Places) -> list[Piece]:
    """The stages of ``dvc.yaml`` that ``targets`` need (none: all), in the order in which they run.

    Raises:
        UserError: there is no project, DVC is missing, cannot read its files, or knows no such stage.
    """
    try:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
        from networkx import ancestors, lexicographical_topological_sort
    except ImportError:
        raise UserError("DVC is not installed; `pip install 'stepladder[pipeline]'` brings it.") from None
    if not (project.root() / "dvc.yaml").exists():
        raise UserError("There is no dvc.yaml here; run in a project's folder, or make one: `stepladder new FOLDER`.")
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(project.root())) as repo, repo.lock:
            graph = repo.index.graph.reverse()
            if targets:
                selected = {stage for target in targets for stage in repo.stage.collect(target)}
                selected |= {need for stage in selected for need in ancestors(graph, stage)}
            else:
                selected = {s for s in graph if Path(s.path).parent == Path(repo.root_dir)}
            order = {stage: number for number, stage in enumerate(repo.index.stages)}
            pieces: dict[Any, Piece] = {}
            for stage in lexicographical_topological_sort(graph, key=order.__getitem__):
                if stage in selected and getattr(stage, "cmd", None):
                    before = [pieces[need] for need in graph.predecessors(stage) if need in pieces]
                    pieces[stage] = _stage(repo, stage, before, places)
            return list(pieces.values())
    except DvcException as error:
        raise UserError(f"DVC cannot tell what is to be done: {' '.join(str(error).split())}.") from None


def _stage(repo: Any, stage: Any, upstream: Sequence[Piece], places: Places) -> Piece:
    name = str(stage.addressing)
    rerun_before = [p.name for p in upstream if p.state in ("runs", "resumes") and not f"{p.name}@".startswith(NOTED)]
    if not rerun_before:
        changes = [change for changes in stage.status(check_updates=True).values() for change in changes]
        if not changes:
            folders = [path for out in stage.outs if (path := Path(out.fs_path)).is_dir()]
            return Piece(name, "up to date", "; ".join(filter(None, map(launch.other_versions, folders))))
        if _is_restored(repo, stage):
            return Piece(name, "restored from the cache")
        why = ", ".join(sorted({what if isinstance(what, str) else next(iter(what)) for what in changes}))
    else:
        why = f"after {', '.join(rerun_before[:3])}{' and others' if len(rerun_before) > 3 else ''}"
    training_spec = training_of(stage.cmd if isinstance(stage.cmd, str) else stage.cmd[0], load())
    if training_spec is None:
        return Piece(name, "runs", why)
    family, params, timesteps = training_spec
    training = Training(family, params, places.data(family), timesteps)
    if all(piece.state == "up to date" for piece in upstream) and (training.data / "card.json").exists():
        check(family, params, training.data, classifier=guide_folder(places.feature_net))
    return _training_piece(name, training, why, {})


def _is_restored(repo: Any, stage: Any) -> bool:
    """Whether DVC's cache has its results: for its dependencies now or, if they are restored too, of ``dvc.lock``."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    if all(dep.exists for dep in stage.deps):
        recorded = not stage.changed_stage() and stage.deps_cached() and all(out.hash_info for out in stage.outs)
        try:
            if not recorded:  # then the run-cache decides, by the present dependencies
                stage.save_deps()
                for out in stage.outs:
                    out.hash_info = HashInfo()
            repo.stage_cache.restore(stage, dry=True)
            return True
        except (DvcException, OSError):
            return False
    known = all(dep.exists or dep.hash_info for dep in stage.deps)
    same = not any(dep.exists and dep.changed_checksum() for dep in stage.deps if dep.protocol == "local")
    return bool(known and same and not stage.changed_stage() and not any(out.changed_cache() for out in stage.outs))


def of_study(name: str, places: Places) -> list[Piece]:
    """The cells of the study ``name``."""
    study, pieces = study_spec.read(name), []
    check_data(name, study)
    stale = {data: _stale(data, places) for data in {places.data(arm.family) for arm in study.arms.values()}}
    for seed in study.seeds:
        for arm, arm_spec in study.arms.items():
            params, data = study.params(arm, seed), places.data(arm_spec.family)
            training = Training(arm_spec.family, params, data, arm_spec.timesteps or None)
            if stale[data]:
                pieces.append(Piece(f"{arm} seed {seed}", "runs", stale[data], training))
                continue
            if (data / "card.json").exists():
                check_arm(study, arm, data, places.feature_net)
            pieces.append(
                _of_cell(f"{arm} seed {seed}", training, cell.folder(name, arm, seed) / "model", {"study": (name, arm)})
            )
    return pieces


def of_sweep(name: str, places: Places) -> list[Piece]:
    """The children of the sweep ``name``; the middle of the space stands for points that Optuna has yet to choose."""
    sweep, pieces = sweep_spec.read(name), []
    stale = _stale(places.data(sweep.family), places)
    points = sweep.points()
    if sweep.method == "optuna":
        files = sorted(sweep_spec.folder(name).glob("points/*.json"))
        points = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for seed in sweep.seeds:
        for point in points:
            child = Child(name, sweep, point, seed, places)
            timesteps = sweep.timesteps_of(point)
            training = Training(sweep.family, sweep.params(point, seed), places.data(sweep.family), timesteps)
            if stale or not (training.data / "card.json").exists():
                pieces.append(Piece(child.title, "runs", stale or "its data is not prepared yet", training))
                continue
            check_point(sweep, point, training.data, places.feature_net)
            outcome = child.outcome()
            if child.finished():
                pieces.append(Piece(child.title, "up to date", launch.other_versions(child.model)))
            elif outcome.get("status") == "pruned":
                pieces.append(Piece(child.title, "up to date", f"pruned: {outcome['why']}"))
            elif history.training(child.model):
                why = "; ".join(filter(None, ["its model is there and is judged", launch.other_versions(child.model)]))
                pieces.append(Piece(child.title, "runs", why))
            else:
                pieces.append(_training_piece(child.title, training, "", {"child": launch.Child(name, {}, "")}))
    if sweep.method == "optuna":
        middle = {dimension.key: dimension.at(0.5) for dimension in sweep.dimensions}
        training = Training(
            sweep.family, sweep.params(middle, sweep.seeds[0]), places.data(sweep.family), sweep.timesteps_of(middle)
        )
        for number in range(len(points), sweep.trials):
            for seed in sweep.seeds:
                pieces.append(Piece(f"trial {number}, seed {seed}", "runs", "Optuna chooses the point", training))
    return pieces


def _stale(data: Path, places: Places) -> str:
    """Why all trainings on ``data`` must run: it is prepared again first; "" where it is up to date or missing."""
    if data.name not in source.KEYS or not (data / "card.json").exists():
        return ""
    if not (project.root() / ".dvc").is_dir():
        return source.changed(data.name, getattr(load(), data.name), data)
    upstream = of_stages([f"prepare@{data.name}"], places)
    outdated = [piece for piece in upstream if piece.state != "up to date" and not f"{piece.name}@".startswith(NOTED)]
    return f"after {outdated[0].name}" if outdated else ""


def _key(training: Training, which: launch.Which) -> str:
    options: launch.Which = {**which, "timesteps": training.timesteps}
    return launch.identity(training.family, training.params, training.data, **options)


def _of_cell(name: str, training: Training, model: Path, which: launch.Which) -> Piece:
    model_key = history.key(model)
    if model_key and (training.data / "card.json").exists() and model_key == _key(training, which):
        why = ["its model; it is judged again where that has changed", launch.other_versions(model)]
        return Piece(name, "up to date", "; ".join(filter(None, why)))
    return _training_piece(name, training, "", which)


def _training_piece(name: str, training: Training, why: str, which: launch.Which) -> Piece:
    """The piece of a training that is to be done; it resumes from its checkpoint where there is one."""
    if not (training.data / "card.json").exists():
        return Piece(name, "runs", why or "its data is not prepared yet", training)
    checkpoint = project.checkpoints() / _key(training, which) / "last.ckpt"
    if not checkpoint.exists():
        return Piece(name, "runs", why, training)
    from stepladder.training.checkpoint import finished_steps, other_versions

    done = finished_steps(checkpoint)
    if other := other_versions(checkpoint):
        return Piece(name, "runs", f"its checkpoint of step {done} was made with {other}", training)
    resumed = Training(training.family, training.params, training.data, training.timesteps, done)
    return Piece(name, "resumes", f"from step {done} of {training.steps}", resumed)


def trainings(pieces: Sequence[Piece]) -> Iterator[Training]:
    """The trainings that are to be done."""
    return (piece.training for piece in pieces if piece.training is not None)
