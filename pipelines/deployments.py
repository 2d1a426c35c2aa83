"""Serves all flows to the Prefect server that ``PREFECT_API_URL`` names: each run is a process on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from prefect import Flow, serve
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound

from pipelines import deployed
from pipelines.automations import TAG

NAME = "this-machine"
FLOWS: tuple[Flow[..., Any], ...] = tuple(getattr(import_module(module), flow) for flow, module in deployed().items())
"""In the order of ``prefect.yaml``."""


def deployments() -> list[RunnerDeployment]:
    """A deployment of each flow, with the schedules that users have set."""
    return [flow.to_deployment(NAME, tags=[TAG], schedules=_schedules(flow.name)) for flow in FLOWS]  # type: ignore[misc]


def _schedules(flow: str) -> list[DeploymentScheduleCreate] | None:
    """The schedules that users have set for the deployment, which Prefect would otherwise remove."""
    try:
        with get_client(sync_client=True) as client:
            existing = client.read_deployment_by_name(f"{flow}/{NAME}").schedules
    except ObjectNotFound:
        return None
    kept = {"schedule", "active", "parameters", "slug"}
    return [DeploymentScheduleCreate(**{name: getattr(one, name) for name in kept}) for one in existing] or None


if __name__ == "__main__":
    serve(*deployments(), pause_on_shutdown=False, print_starting_message=False)
