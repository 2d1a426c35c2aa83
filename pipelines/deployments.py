"""Serves both flows to the Prefect server that ``PREFECT_API_URL`` names: each run is a process on this machine."""

from __future__ import annotations

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from pipelines.pipeline import pipeline
from pipelines.sweep import sweep

NAME = "this-machine"


def deployments() -> list[RunnerDeployment]:
    return [flow.to_deployment(NAME, tags=["stepladder"]) for flow in (sweep, pipeline)]  # type: ignore[misc]


if __name__ == "__main__":
    serve(*deployments(), print_starting_message=False)
