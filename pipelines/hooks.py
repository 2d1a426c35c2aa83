"""State-change hooks that write the end of a flow run to the MLflow runs of its trainings."""

from __future__ import annotations

import logging
from typing import Any

from prefect.utilities.urls import url_for


def to_mlflow(flow: Any, flow_run: Any, state: Any) -> None:
    """Tag the runs of ``flow_run``'s trainings, and their sweeps', with its state and its page. It never fails a run."""
    try:
        from stepladder.tracking import flow_runs

        flow_runs.record(str(flow_run.id), state.name, url_for(flow_run) or "")
    except Exception as error:
        logging.getLogger("prefect.flow_runs").warning(f"MLflow was not told how the run ended: {error}")


HOOKS: dict[str, Any] = {
    f"on_{end}": [to_mlflow] for end in ("completion", "failure", "cancellation", "crashed")
}  # fmt: skip
