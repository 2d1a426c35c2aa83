"""Writes the page of the workspace or of an experiment, and nothing else: it does not train, judge or register."""

from __future__ import annotations

from pathlib import Path

from prefect.client.schemas import State
from prefect.states import Failed

from pipelines import artifacts, experiments, graph, restoring, selection, stages
from pipelines.artifacts import Results
from pipelines.run import begin, publish, run_stages, state
from stepladder import params as spec
from stepladder.errors import UserError

TITLE = "report"


def write(experiment: str) -> State[None]:
    """Bring the pages of the workspace, or of ``experiment``, up to date; returns the final state of the flow run.

    If all results that they need were made with the present parameters, DVC runs them as other stages. Otherwise they are
    written in a copy, from the results with these parameters, and the missing ones are named.
    """
    try:
        root = begin()
        if not experiment and not _stale(root):
            return _write(root, root, "", by_hand=False)
        commit = experiments.commit(root, experiment) if experiment else ""
        with experiments.copy(root, experiment or TITLE, commit=commit) as workspace:
            full = graph.read(workspace)
            lacking = selection.missing(full, selection.pages(full), restoring.restore(workspace, full))
            remark = f" Not on it, for it was not made with these parameters: {', '.join(lacking)}." if lacking else ""
            return _write(root, workspace, experiment, by_hand=bool(lacking), remark=remark)
    except UserError as error:
        return Failed(message=str(error))


def _stale(root: Path) -> bool:
    """Whether a result that the pages need is missing in the workspace, or was made with other parameters."""
    full = graph.read(root)
    needs = selection.missing(full, selection.pages(full), [])
    command = ["dvc", "--wait-for-lock", "status", "--quiet", *needs]
    return bool(needs) and stages.call(command, folder=root, environment={}, log=lambda _: None)[0] != 0


def _write(root: Path, workspace: Path, experiment: str, *, by_hand: bool, remark: str = "") -> State[None]:
    full, params = graph.read(workspace), spec.load(workspace / spec.PARAMS_FILE)
    pages = selection.pages(full)
    outcome = run_stages(pages, workspace, root, by_hand)
    results = Results(workspace, params, graph.upstream(full, pages), artifacts.page(root, experiment))
    publish(results, TITLE, outcome, root, experiment or None)
    return state(outcome, remark)
