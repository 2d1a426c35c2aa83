"""Reads DVC's stage graph, once for a run: the order of the stages is declared in ``dvc.yaml`` and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepladder.errors import UserError

Graph = dict[str, tuple[str, ...]]
"""The stages each stage needs, by name; a stage comes after all that it needs."""


def read(root: Path) -> Graph:
    """The graph of the DVC project in ``root``; raises ``UserError`` with DVC's words where it cannot be read.

    Only the ``dvc.yaml`` in ``root`` counts, as for ``dvc repro``; graphs in other folders are run separately.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from networkx import lexicographical_topological_sort

    try:
        with Repo(str(root)) as repo:
            stages = repo.index.graph
            names = {stage: name for name, stage in named(repo).items()}
            declared = {stage: position for position, stage in enumerate(repo.index.stages)}
            order = lexicographical_topological_sort(stages.reverse(), key=lambda stage: declared[stage])
            return {
                names[stage]: tuple(
                    names[need] for need in sorted(stages.successors(stage), key=declared.__getitem__) if need in names
                )
                for stage in order
                if stage in names
            }
    except DvcException as error:
        raise UserError(f"DVC cannot read the stages of {root}: {' '.join(str(error).split())}.") from None


def named(repo: Any) -> dict[str, Any]:
    """The stages of the ``dvc.yaml`` in the root of an open DVC repository, by name."""
    from dvc.stage import PipelineStage

    return {
        stage.name: stage
        for stage in repo.index.stages
        if isinstance(stage, PipelineStage) and stage.cmd and Path(stage.path).parent == Path(repo.root_dir)
    }


def command(root: Path, name: str) -> tuple[str, list[Path]]:
    """The shell command of the stage ``name``, and the paths of its results."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        stage = named(repo)[name]
        lines = [stage.cmd] if isinstance(stage.cmd, str) else stage.cmd
        return " && ".join(lines), [Path(out.fs_path) for out in stage.outs]


def upstream(graph: Graph, targets: Iterable[str]) -> Graph:
    """The part of ``graph`` that ``targets`` need, themselves included."""
    needed: set[str] = set()
    waiting = list(targets)
    while waiting:
        stage = waiting.pop()
        if stage not in needed:
            needed.add(stage)
            waiting += graph[stage]
    return {stage: needs for stage, needs in graph.items() if stage in needed}


def family(stage: str) -> str:
    """``train-diffusion`` of ``train-diffusion@200``."""
    return stage.partition("@")[0]


def of_family(graph: Graph, name: str) -> list[str]:
    """The stages ``name`` and ``name@...``; raises ``UserError`` where there is none."""
    stages = [stage for stage in graph if family(stage) == name]
    if not stages:
        raise UserError(
            f"dvc.yaml declares no stage {name}; it declares: {', '.join(dict.fromkeys(map(family, graph)))}."
        )
    return stages
