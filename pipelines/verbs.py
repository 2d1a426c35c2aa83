"""Runs a flow that is one command, `stepladder VERB ...`: logs its lines; its last line is the outcome."""

from __future__ import annotations

import sys

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from pipelines import stages
from stepladder import project


def run(*arguments: str) -> State[None]:
    """Run the verb; the flow run fails with the verb's last line where it refuses or fails."""
    log, lines = get_run_logger(), list[str]()

    def collect(line: str) -> None:
        lines.append(line)
        log.info(line)

    flow_run = runtime.flow_run.id
    environment = {stages.FLOW_RUN: str(flow_run)} if flow_run else {}
    command = [sys.executable, "-m", "stepladder", *arguments]
    with stages.ended_with_the_run():
        code, errors = stages.call(command, folder=project.root().resolve(), environment=environment, log=collect)
    if code == stages.USER_ERROR:
        return Failed(message=errors[-1].removeprefix("stepladder: ") if errors else f"{arguments[0]} was refused.")
    create_markdown_artifact(
        "\n".join(f"    {line}" for line in lines), key=f"{arguments[0]}-summary", description=" ".join(arguments)
    )
    last = lines[-1] if lines else f"{arguments[0]} ended with exit code {code}."
    return Failed(message=last) if code else Completed(message=last)
