"""The flow ``report``: writes the report of the workspace or of an earlier experiment."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas import State

from pipelines import form, pages
from pipelines.form import Experiment
from pipelines.hooks import HOOKS


@flow(name="report", **HOOKS)
@form.described
def report(experiment: Experiment = "") -> State[None]:
    """Write the report of the workspace, or of a DVC experiment, from what was made with its parameters. It trains, judges and
    registers nothing; what there is not yet is named.

    Args:
        experiment: name of a DVC experiment (`dvc exp list`), such as an earlier flow run's; empty: the workspace
    """
    return pages.write(experiment)
