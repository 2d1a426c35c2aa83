"""The flow ``report``: the page of what was run, in the workspace or in an experiment of earlier."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, graph
from pipelines.form import Experiment
from pipelines.graph import Graph
from pipelines.hooks import HOOKS
from pipelines.run import again


@flow(name="report", **HOOKS)
@form.described
def report(experiment: Experiment = "") -> State[None]:
    """Write the report of the workspace, or of a DVC experiment. What was made before comes from the cache; what is no
    longer there, or never was, is made.
    """
    return again(experiment, _to_the_report, title="report")


def _to_the_report(whole: Graph) -> Graph:
    return graph.upstream(whole, graph.of_family(whole, "report"))
