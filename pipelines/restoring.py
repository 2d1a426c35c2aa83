"""Restores results in a copy of the project without running stages: those that the same code made from the same data."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from pipelines import graph
from pipelines.graph import Graph
from stepladder.data import source
from stepladder.params import PARAMS_FILE, load


def restore(workspace: Path, part: Graph) -> set[str]:
    """Check out of DVC's cache the results of stages of ``part``, and record them in ``dvc.lock``; returns the stages' names.

    A stage is restored if all that it needs is restored, and ``dvc.lock`` or DVC's run cache has its results for its present
    command, parameters and files. The paths of the sources, which no cache has, are recorded again.
    """
    from dvc.repo import Repo

    restored: set[str] = set()
    if any(graph.family(name) in source.STAGES for name in part):
        source.refresh(load(workspace / PARAMS_FILE), workspace)
    with (
        Repo(str(workspace)) as repo,
        repo.lock,
        chdir(workspace),
    ):  # the run cache takes the current folder for the project
        stages = graph.named(repo)
        for name, needs in part.items():
            is_there = _is_recorded if graph.family(name) in source.STAGES else partial(_is_restored, repo)
            if restored.issuperset(needs) and is_there(stages[name]):
                restored.add(name)
    return restored


def _is_recorded(stage: Any) -> bool:
    """Whether the results of a stage that records a source exist; if so they are written to ``dvc.lock``."""
    if not all(out.exists for out in stage.outs):
        return False
    stage.save()
    stage.dump(update_pipeline=False)
    return True


def _is_restored(repo: Any, stage: Any) -> bool:
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        known = all(out.hash_info for out in stage.outs)
        if known and not stage.changed_stage() and not stage.changed_deps():
            return not stage.checkout().get("failed")
        for out in stage.outs:  # otherwise the cache would not be searched by what the stage reads now
            out.hash_info = HashInfo()
        repo.stage_cache.restore(stage)
        stage.save()
        stage.dump(update_pipeline=False)
    except (DvcException, OSError):
        return False
    return True


def disown(workspace: Path, kept: Collection[str]) -> None:
    """Mark in ``dvc.lock`` all stages but ``kept`` as not made with the present parameters: their figures become empty, and
    DVC can make them anew. Their other results stay, because `dvc exp apply` refuses a stage without results.
    """
    from dvc.repo import Repo

    file = workspace / "dvc.lock"
    lock = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    locked: dict[str, Any] = lock.get("stages", {})
    with Repo(str(workspace)) as repo, repo.lock:
        stages = graph.named(repo)
        for name in set(locked).difference(kept):
            if name in stages:
                outs = [_emptied(stages[name], entry) for entry in locked[name].get("outs", [])]
                locked[name] = {"cmd": locked[name]["cmd"], "outs": outs}
            else:
                del locked[name]
    if locked:
        file.write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def _emptied(stage: Any, entry: dict[str, Any]) -> dict[str, Any]:
    """A result's ``entry`` in the lock; files of figures, which `dvc exp show` and `dvc plots` show, are emptied."""
    (out,) = [out for out in stage.outs if out.def_path == entry["path"]] or [None]
    if out is None or not (out.metric or out.plot):
        return entry
    path = Path(out.fs_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(("[]" if out.plot else "{}") if path.suffix == ".json" else "", encoding="utf-8")
    out.save()
    out.commit()
    return {"path": entry["path"], "hash": out.hash_name, **out.hash_info.to_dict(), "size": path.stat().st_size}
