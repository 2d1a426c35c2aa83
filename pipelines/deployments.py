"""Serves all flows to the Prefect server that ``PREFECT_API_URL`` names: each run is a process on this machine."""

from __future__ import annotations

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from pipelines.automations import TAG
from pipelines.evaluate import evaluate
from pipelines.pipeline import pipeline
from pipelines.predict import predict
from pipelines.promote import promote
from pipelines.report import report
from pipelines.reproduce import reproduce
from pipelines.sweep import sweep
from pipelines.train import train

NAME = "this-machine"
FLOWS = (pipeline, train, sweep, evaluate, promote, report, reproduce, predict)


def deployments() -> list[RunnerDeployment]:
    return [flow.to_deployment(NAME, tags=[TAG]) for flow in FLOWS]  # type: ignore[misc]


if __name__ == "__main__":
    serve(*deployments(), print_starting_message=False)
