"""What both flows do: bring stages up to date, each as soon as what it needs is there, as many at once as there are slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State, TaskRun
from prefect.futures import as_completed
from prefect.states import Completed, Failed
from prefect.tasks import Task

from pipelines import artifacts, experiments, graph, slots, stages
from pipelines.artifacts import Results
from pipelines.graph import Graph
from stepladder import params as spec
from stepladder import project
from stepladder.errors import UserError
from stepladder.params import Params

REFUSED = "Refused"


@dataclass
class Outcome:
    """How the stages of a run ended."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        if not self.failed:
            return f"All {len(self.done)} stages are up to date."
        children = "; ".join(f"{stage}: {why}" for stage, why in self.failed.items())
        skipped = f" Not run, because they need a failed one: {', '.join(self.skipped)}." if self.skipped else ""
        done = f" Done and kept: {', '.join(self.done)}." if self.done else ""
        return f"{len(self.failed)} of {self.count()} stages failed. {children}{'' if children.endswith('.') else '.'}{skipped}{done}"

    def count(self) -> int:
        return len(self.done) + len(self.failed) + len(self.skipped)


def _is_worth_retrying(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    return state.name != REFUSED


@task(
    name="stage",
    task_run_name="{stage}",
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=_is_worth_retrying,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def run_stage(stage: str, workspace: Path, root: Path) -> State[None] | None:
    """Bring one stage up to date. A stage that refuses its input fails at once; any other failure is tried again."""
    log = get_run_logger()
    try:
        with slots.take(root / ".slots", log.info) as slot:
            stages.run(stage, workspace=workspace, root=root, slot=slot, log=log.info)
    except UserError as error:
        return Failed(name=REFUSED, message=str(error))
    return None


def run(params: Params, select: Callable[[Graph], Graph], *, title: str) -> State[None]:
    """Run the stages that ``select`` chooses with ``params``; the state in which the flow run ends.

    The workspace's own parameters run in the workspace; others in a copy, kept as a DVC experiment named after the
    flow run.
    """
    root = project.root().resolve()
    log = get_run_logger()
    slots.number()
    if params == spec.load(root / spec.PARAMS_FILE):
        log.info(f"the parameters are those of {spec.PARAMS_FILE}: running in the workspace {root}")
        part = select(graph.read(root))
        outcome = _run_stages(part, root, root)
        _publish(Results(root, params, _translates(part)), title, outcome, root, None)
        return _state(outcome, "")
    name = experiments.free_name(root, str(runtime.flow_run.name or title))
    log.info(f"the parameters are not those of {spec.PARAMS_FILE}: running as the DVC experiment {name}")
    with experiments.copy(root, name, params) as workspace:
        part = select(graph.read(workspace))
        outcome = _run_stages(part, workspace, root)
        kept = not outcome.failed
        if kept:
            experiments.keep(root, workspace, name, part, log.info)
        _publish(Results(workspace, params, _translates(part)), title, outcome, root, name if kept else None)
    remark = f" `dvc exp show` lists it as {name}; `dvc exp apply {name}` brings it into the workspace." if kept else ""
    return _state(outcome, remark)


def _translates(part: Graph) -> bool:
    return any(graph.family(stage).endswith("-transformer") for stage in part)


def _publish(results: Results, title: str, outcome: Outcome, root: Path, experiment: str | None) -> None:
    """The artifacts show results that are safe on disk: what hinders them costs a line, not the run."""
    try:
        artifacts.publish(results, title=title, outcome=outcome.sentence(), root=root, experiment=experiment)
    except Exception as error:
        get_run_logger().warning(f"the page's summary was not made: {type(error).__name__}: {error}")


def _state(outcome: Outcome, remark: str) -> State[None]:
    message = outcome.sentence() + remark
    return Failed(message=message) if outcome.failed else Completed(message=message)


def _run_stages(part: Graph, workspace: Path, root: Path) -> Outcome:
    progress = create_progress_artifact(progress=0.0, key="stages-done", description=f"of {len(part)} stages")
    outcome = Outcome()
    with stages.ended_with_the_run():
        futures: dict[str, Any] = {}
        for stage, needs in part.items():
            needed = [futures[need] for need in needs if need in futures]
            futures[stage] = run_stage.submit(stage, workspace, root, return_state=False, wait_for=needed)
        names = {future.task_run_id: stage for stage, future in futures.items()}
        for ended, future in enumerate(as_completed(list(futures.values())), 1):
            future.wait()
            stage, state = names[future.task_run_id], future.state
            if state.is_completed():
                outcome.done.append(stage)
            elif state.is_pending():
                outcome.skipped.append(stage)
            else:
                outcome.failed[stage] = _why(state)
            update_progress_artifact(progress, progress=100.0 * ended / len(part))  # type: ignore[arg-type]
    return outcome


def _why(state: State[Any]) -> str:
    words = state.message or "it ended without a word"
    return words.removeprefix("Task run encountered an exception ").removeprefix("StageError: ")
