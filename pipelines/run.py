"""Brings stages up to date for all flows: each starts when what it needs is ready, as many at once as there are slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas import State, TaskRun
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.futures import as_completed
from prefect.states import Completed, Crashed, Failed
from prefect.tasks import Task

from pipelines import artifacts, experiments, form, graph, limits, progress, restoring, selection, stages
from pipelines.artifacts import Results
from pipelines.graph import Graph
from pipelines.selection import Select
from stepladder import params as spec
from stepladder import project, slots
from stepladder.data import source
from stepladder.errors import UserError
from stepladder.reporting.report import is_owed

REFUSED = "Refused"


@dataclass
class Outcome:
    """How the stages of a run ended."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """A sentence for people: how many failed, why, and what was not run or is kept."""
        if not self.failed:
            return f"All {len(self.done)} stages are up to date."
        children = "; ".join(f"{stage}: {why}" for stage, why in self.failed.items())
        skipped = f" Not run, because they need a failed one: {', '.join(self.skipped)}." if self.skipped else ""
        done = f" Done and kept: {', '.join(self.done)}." if self.done else ""
        return f"{len(self.failed)} of {self.count()} stages failed. {children}{'' if children.endswith('.') else '.'}{skipped}{done}"

    def count(self) -> int:
        """The number of all stages."""
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
def run_stage(stage: str, workspace: Path, root: Path, by_hand: bool = False) -> State[None] | None:
    """Bring one stage up to date, or run its command ``by_hand``. A refused input fails at once; other failures are retried."""
    log = get_run_logger()
    try:
        with slots.hold(stage, log=log.info) as held, progress.published(stage, workspace, root, log.warning):
            limits.show()
            run_command = stages.by_hand if by_hand else stages.run
            common: dict[str, Any] = {"workspace": workspace, "root": root, "held": held, "log": log.info}
            run_command(stage, **common, flow_run=runtime.flow_run.id or "")
            if stage == selection.REPORT and is_owed(workspace / "reports"):
                stages.by_hand(stage, **common, flow_run=runtime.flow_run.id or "")
    except UserError as error:
        return Failed(name=REFUSED, message=str(error))
    finally:
        limits.show()
    return None


def run(preset: str, fields: dict[str, Any], select: Select, *, title: str) -> State[None]:
    """Run the stages that ``select`` chooses with the parameters of a filled-in form; returns the final state.

    The workspace's own parameters run in the workspace; others in a copy, kept as a DVC experiment named after the
    flow run.
    """
    try:
        params = form.read(preset, fields)
        root = begin()
        _record(preset, params, fields, title)
        if params == spec.load(root / spec.PARAMS_FILE):
            get_run_logger().info(f"the parameters are those of {spec.PARAMS_FILE}: running in the workspace {root}")
            part = select(graph.read(root))
            outcome = run_stages(part, root, root)
            publish(Results(root, params, part, artifacts.page(root)), title, outcome, root, None)
            return state(outcome)
        return _experiment(params, select, root, title)
    except UserError as error:
        return Failed(message=str(error))


def _experiment(params: spec.Params, select: Select, root: Path, title: str) -> State[None]:
    log, name = get_run_logger(), experiments.free_name(root, str(runtime.flow_run.name or title))
    log.info(f"the parameters are not those of {spec.PARAMS_FILE}: running as the DVC experiment {name}")
    with experiments.copy(root, name, params) as workspace:
        full = graph.read(workspace)
        selected, restored = select(full), restoring.restore(workspace, full)
        part = selection.compared(full, selected, restored)
        outcome = run_stages(part, workspace, root)
        if not outcome.failed:
            experiments.keep(root, workspace, name, part, restored, log.info)
        kept = None if outcome.failed else name
        publish(
            Results(workspace, params, part, artifacts.page(root, kept) if kept else None), title, outcome, root, kept
        )
    if not kept:
        return state(outcome)
    remark = f" `dvc exp show` lists it as {name}; `dvc exp apply {name}` brings it into the workspace."
    return state(outcome, remark + _unmeasured(full, {*part, *restored}))


def _unmeasured(full: Graph, done: set[str]) -> str:
    comparisons = [stage for stage in full if graph.family(stage) == selection.COMPARE and stage not in done]
    if not comparisons:
        return ""
    lacking = ", ".join(selection.missing(full, comparisons, done))
    return f" It has no figures there: its parameters have no results of {lacking} to compare."


def begin() -> Path:
    """The project's folder. First it ends what an earlier attempt at this flow run left: its processes on this machine, and
    its tasks, which the page would otherwise show as running for ever.
    """
    limits.show()
    flow_run = runtime.flow_run.id
    if flow_run and runtime.flow_run.run_count > 1:
        count = stages.end_left_over(flow_run)
        get_run_logger().info(f"ended {count} processes that an earlier attempt at this run had left")
        this_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run)]))
        with get_client(sync_client=True) as client:
            for old_run in client.read_task_runs(flow_run_filter=this_run):
                if old_run.state is not None and not old_run.state.is_final():
                    client.set_task_run_state(old_run.id, Crashed(message="An earlier attempt ended here."), force=True)
    return project.root().resolve()


def _record(preset: str, params: spec.Params, fields: dict[str, Any], title: str) -> None:
    """Show the parameters on the run's page: the form's fields with all values, and all parameters as an artifact."""
    try:
        artifacts.parameters(params, preset, title)
        if flow_run := runtime.flow_run.id:
            with get_client(sync_client=True) as client:
                filled = client.read_flow_run(UUID(flow_run)).parameters
                client.update_flow_run(UUID(flow_run), parameters=filled | form.filled_in(params, fields))
    except Exception as error:
        get_run_logger().warning(f"the page does not show the parameters that run: {type(error).__name__}: {error}")


def publish(results: Results, title: str, outcome: Outcome, root: Path, experiment: str | None) -> None:
    """Publish the artifacts. The results are safe on disk, so a failure only logs a line."""
    try:
        artifacts.publish(results, title=title, outcome=outcome.sentence(), root=root, experiment=experiment)
    except Exception as error:
        get_run_logger().warning(f"the page's summary was not made: {type(error).__name__}: {error}")


def state(outcome: Outcome, remark: str = "") -> State[None]:
    """The final state of the flow run, with the sentence for its page."""
    message = outcome.sentence() + remark
    return Failed(message=message) if outcome.failed else Completed(message=message)


def run_stages(part: Graph, workspace: Path, root: Path, by_hand: bool = False) -> Outcome:
    """Run the stages of ``part``, each when what it needs is ready, up to the number of free slots; returns how each ended."""
    progress_bar = create_progress_artifact(progress=0.0, key="stages-done", description=f"of {len(part)} stages")
    outcome = Outcome()
    if any(graph.family(stage) in source.STAGES for stage in part):
        for line in source.refresh(spec.load(workspace / spec.PARAMS_FILE), workspace):
            get_run_logger().warning(line)
    with stages.ended_with_the_run():
        futures: dict[str, Any] = {}
        for stage, needs in part.items():
            needed = [futures[need] for need in needs if need in futures]
            named_task = run_stage.with_options(name=stage)  # so that the page names it while it waits
            futures[stage] = named_task.submit(stage, workspace, root, by_hand, return_state=False, wait_for=needed)
        names = {future.task_run_id: stage for stage, future in futures.items()}
        for count, future in enumerate(as_completed(list(futures.values())), 1):
            future.wait()
            stage, end_state = names[future.task_run_id], future.state
            if end_state.is_completed():
                outcome.done.append(stage)
            elif end_state.is_pending():
                outcome.skipped.append(stage)
            else:
                outcome.failed[stage] = _reason(end_state)
            update_progress_artifact(progress_bar, progress=100.0 * count / len(part))  # type: ignore[arg-type]
    outcome.skipped.sort(key=list(part).index)
    return outcome


def _reason(state: State[Any]) -> str:
    words = state.message or "it ended without a word"
    return words.removeprefix("Task run encountered an exception ").removeprefix("StageError: ")
