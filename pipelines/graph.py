"""DVC's stage graph, read once a run: the order of the stages is declared in ``dvc.yaml`` and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stepladder.errors import UserError

APART = ("studies", "adaptation", "guidance")

Graph = dict[str, tuple[str, ...]]
"""The stages each stage needs, by name; a stage comes after all that it needs."""


def read(root: Path) -> Graph:
    """The graph of the DVC project in ``root``; raises ``UserError`` with DVC's words where it cannot be read.

    The stages in the folders ``APART`` are not part of it: each of their ``dvc.yaml`` is run by itself.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from networkx import lexicographical_topological_sort

    try:
        with Repo(str(root)) as repo:
            stages = repo.index.graph
            names = {
                stage: _name(Path(stage.path), stage.name, Path(repo.root_dir))
                for stage in repo.index.stages
                if isinstance(stage, PipelineStage) and stage.cmd and not _apart(stage.path, repo.root_dir)
            }
            declared = {stage: place for place, stage in enumerate(repo.index.stages)}
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


def complete(graph: Graph, part: Graph) -> Graph:
    """``part`` and every further stage of ``graph`` that needs nothing outside it."""
    whole = dict(part)
    for stage, needs in graph.items():
        if stage not in whole and needs and all(need in whole for need in needs):
            whole[stage] = needs
    return {stage: needs for stage, needs in graph.items() if stage in whole}


def family(stage: str) -> str:
    """``train-diffusion`` of ``train-diffusion@200``."""
    return stage.partition("@")[0]


def of_family(graph: Graph, name: str) -> list[str]:
    """The stages ``name`` and ``name@...``; raises ``UserError`` where there is none."""
    found = [stage for stage in graph if family(stage) == name]
    if not found:
        raise UserError(
            f"dvc.yaml declares no stage {name}; it declares: {', '.join(dict.fromkeys(map(family, graph)))}."
        )
    return found


def _apart(file: str, root: str) -> bool:
    return Path(file).relative_to(root).parts[0] in APART


def _name(file: Path, name: str, root: Path) -> str:
    return name if file.parent == root else f"{file.relative_to(root).as_posix()}:{name}"
