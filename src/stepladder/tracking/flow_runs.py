"""What Prefect says of the trainings that it started, as tags of their MLflow runs."""

from __future__ import annotations

from stepladder.tracking import store

FLOW_RUN, STATE, PAGE = "stepladder.flow_run", "stepladder.flow_state", "stepladder.flow_page"


@store.answering()
def record(flow_run: str, state: str, page: str) -> int:
    """Tag the runs of the trainings that ``flow_run`` started, and their parents, with how it ended and its page.

    Returns the number of runs tagged: 0 also where there is no store.
    """
    if not store.exists():
        return 0
    client = store.client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    trainings = client.search_runs(experiments, f"tags.`{FLOW_RUN}` = '{flow_run}'") if experiments else []
    parents = {str(run.data.tags["mlflow.parentRunId"]) for run in trainings if "mlflow.parentRunId" in run.data.tags}
    runs = {str(run.info.run_id) for run in trainings} | parents
    for run_id in runs:
        for name, value in ((FLOW_RUN, flow_run), (STATE, state), (PAGE, page)):
            client.set_tag(run_id, name, value)
    return len(runs)
