"""Selects the stages that each flow runs, from the graph that ``dvc.yaml`` declares.

``train`` and ``evaluate`` run what they name and what that needs; ``sweep`` is ``evaluate`` of the diffusion models; ``report``
runs the pages alone; ``pipeline`` everything, and it alone registers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pipelines import graph
from pipelines.graph import Graph

COMPARE = "compare"
"""The stage that makes the figures of ``dvc metrics`` and ``dvc exp show`` from evaluations; it is fast."""
REPORT = "report"
PAGES = (COMPARE, REPORT)
"""Stages that show the results of others, and change nothing else."""

Select = Callable[[Graph], Graph]


def everything(full: Graph) -> Graph:
    """All stages."""
    return full


def of(verb: str, models: str) -> Select:
    """The stages ``train-MODELS`` or ``evaluate-MODELS`` and what they need."""
    return lambda full: graph.upstream(full, graph.of_family(full, f"{verb}-{models}"))


def pages(full: Graph) -> Graph:
    """The stages of pages, with their needs."""
    return {stage: needs for stage, needs in full.items() if graph.family(stage) in PAGES}


def compared(full: Graph, part: Graph, done: Collection[str]) -> Graph:
    """``part``, and each comparison whose needs are all in ``part`` or ``done``."""
    ready = {stage for stage in full if graph.family(stage) == COMPARE and not missing(full, [stage], {*part, *done})}
    return {stage: needs for stage, needs in full.items() if stage in part or stage in ready}


def missing(full: Graph, targets: Collection[str], done: Collection[str]) -> list[str]:
    """The stages that ``targets`` need and that are neither among them nor ``done``."""
    return [stage for stage in graph.upstream(full, targets) if stage not in targets and stage not in done]
