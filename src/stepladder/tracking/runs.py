"""MLflow runs: one parent for a sweep, one child for a training; a tag with the key of its content identifies each."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from stepladder import history
from stepladder.journal.record import Data, Header
from stepladder.tracking import login, store

KEY, SWEEP, ATTEMPTS, FAMILY = "stepladder.key", "stepladder.sweep", "stepladder.attempts", "stepladder.family"
PARAMS_A_REQUEST = 100  # MLflow's limit


class Tracked(TypedDict):
    """A run of the store; its parent is the run of a sweep."""

    run_id: str
    parent_run_id: str | None
    experiment_id: NotRequired[str]
    tracking_uri: NotRequired[str]
    status: NotRequired[str]


@store.answering()
def open_run(header: Header) -> Tracked:
    """The run of the training that ``header`` describes, and the parent of its sweep; created where missing.

    A training that resumes gets its former run, set to running; a tag counts the attempts.

    Raises:
        Refused: the server does not let this user write to the experiment.
        UserError: the store does not answer.
    """
    with login.permitted(f"write to the experiment {header['experiment']}"):
        return _open_or_create(header)


def _open_or_create(header: Header) -> Tracked:
    client, experiment = store.client(), store.experiment(header["experiment"])
    with store.lock("runs"):
        sweep_key = header.get("sweep_key")
        parent = _parent(client, experiment, header, sweep_key) if sweep_key else None
        run = _find(client, experiment, KEY, header["key"])
        if run is None:
            run_id = _create(client, experiment, header, parent)
        else:
            run_id = run.info.run_id
            _describe(client, run, _training_params(header), header["data"])
            if run.info.status != "RUNNING":
                client.update_run(run_id, status="RUNNING")
            if parent and run.data.tags.get("mlflow.parentRunId") != parent:  # the former parent was deleted
                client.set_tag(run_id, "mlflow.parentRunId", parent)
            client.set_tag(run_id, ATTEMPTS, int(run.data.tags.get(ATTEMPTS, 1)) + 1)
    return {"run_id": run_id, "parent_run_id": parent, "experiment_id": experiment, "tracking_uri": store.safe_uri()}


@store.answering()
def close_run(run: Tracked, status: str, ended: float | None = None) -> None:
    """End ``run`` as FINISHED, FAILED or KILLED, at ``ended`` (unix seconds; default: now).

    A sweep's parent gets the status of the first child that ends, and FINISHED once a child is finished.
    """
    client, end = store.client(), None if ended is None else int(1000 * ended)
    parent = _if_known(run.get("parent_run_id"))
    if parent and (status == "FINISHED" or client.get_run(parent).info.status == "RUNNING"):
        client.set_terminated(parent, status, end)
    client.set_terminated(run["run_id"], status, end)  # last: the next ``sync`` completes a run that is still open


def of_model(folder: Path) -> Tracked | None:
    """The run, in the present store, of the model in ``folder``: the one in its history, else the one with its key."""
    recorded = history.run(folder)
    if run_id := _if_known(recorded.get("run_id")):
        return {"run_id": run_id, "parent_run_id": _if_known(recorded.get("parent_run_id"))}
    return of_header(history.header(folder))


@store.answering()
def check_writable(folder: Path) -> None:
    """Raise ``Refused`` where a server does not let this user write to the run of the model in ``folder``, if it has one."""
    if not store.is_server() or not history.training(folder):
        return
    with login.permitted(f"write to the run of {folder}"):
        if run := of_model(folder):
            store.client().set_tag(run["run_id"], FAMILY, history.training(folder)["family"])


def of_header(header: Header) -> Tracked | None:
    """The run, in the present store, of the training that ``header`` describes; ``None`` where there is none."""
    if not header:
        return None
    client, experiment = store.client(), store.experiment(header["experiment"])
    run = _find(client, experiment, KEY, header["key"])
    if run is None:
        return None
    parent = _if_known(run.data.tags.get("mlflow.parentRunId"))
    return {
        "run_id": run.info.run_id,
        "parent_run_id": parent,
        "experiment_id": experiment,
        "status": run.info.status,
    }


def completed(header: Header) -> Tracked | None:
    """As ``of_header``, and adds what a killed process left out of the descriptions of the run and its parent."""
    client, experiment = store.client(), store.experiment(header["experiment"])
    with store.lock("runs"):
        run = _find(client, experiment, KEY, header["key"])
        if run is None:
            return None
        if sweep_key := header.get("sweep_key"):
            parent = _parent(client, experiment, header, sweep_key)
            if run.data.tags.get("mlflow.parentRunId") != parent:
                client.set_tag(run.info.run_id, "mlflow.parentRunId", parent)
        _describe(client, run, _training_params(header), header["data"])
    return of_header(header)


def header_of(journal: Path) -> Header:
    """The first line of a journal."""
    with journal.open(encoding="utf-8") as file:
        header: Header = json.loads(file.readline())["header"]
    return header


def _if_known(run_id: str | None) -> str | None:
    """``run_id``; ``None`` where the store does not have it or a user deleted it."""
    return run_id if _known(run_id) else None


def _known(run_id: str | None) -> bool:
    """Whether the store has this run, and nobody has deleted it."""
    if not run_id:
        return False
    from mlflow.exceptions import MlflowException

    try:
        return bool(store.client().get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _parent(client: Any, experiment: str, header: Header, sweep_key: str) -> str:
    tags = _origin(header) | {SWEEP: sweep_key}
    params, name = header["params"], f"sweep {header['data']['name']} {sweep_key[:6]}"
    if sweep := header.get("sweep"):
        params, name = sweep["space"], f"sweep {sweep['name']}"
        tags["mlflow.note.content"] = (
            "One training for each point and seed is nested below. Means and intervals over the seeds are logged with step = "
            "the point's place in `results.json`, `best/...` is the best point's."
        )
    else:
        tags["mlflow.note.content"] = (
            "One training for each T is nested below. Quality is logged with step = S, "
            "`best/...` with step = T; `recommended/...` is the point that the comparison recommends."
        )
    parent = _find(client, experiment, SWEEP, sweep_key)
    if parent is None:
        start = int(1000 * header["started"])
        parent = client.create_run(experiment, run_name=name, tags=tags, start_time=start)
    _describe(client, parent, params, header["data"])
    return str(parent.info.run_id)


def _create(client: Any, experiment: str, header: Header, parent: str | None) -> str:
    tags = _origin(header) | {KEY: header["key"], ATTEMPTS: "1"}
    if parent:
        tags |= {"mlflow.parentRunId": parent}
    start = int(1000 * header["started"])
    run = client.create_run(experiment, run_name=header["run_name"], tags=tags, start_time=start)
    _describe(client, run, _training_params(header), header["data"])
    return str(run.info.run_id)


def _training_params(header: Header) -> Mapping[str, object]:
    """The parameters of the training that ``header`` describes."""
    return {**header["params"], **({} if header["timesteps"] is None else {"timesteps": header["timesteps"]})}


def _describe(client: Any, run: Any, params: Mapping[str, object], data: Data) -> None:
    """Log what ``run`` lacks of its parameters, and its data."""
    run_id = run.info.run_id
    _log_params(client, run_id, {name: value for name, value in params.items() if name not in run.data.params})
    if not (run.inputs and run.inputs.dataset_inputs):
        _log_data(client, run_id, data)


def _origin(header: Header) -> dict[str, str]:
    timesteps = "" if header["timesteps"] is None else f" --timesteps {header['timesteps']}"
    tags = {
        "mlflow.user": user(),
        "mlflow.source.name": f"stepladder train {header['family']}{timesteps}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": header["git_commit"],
        "stepladder.git_dirty": str(header["git_dirty"]).lower(),
        FAMILY: header["family"],
        "stepladder.data": header["data"]["name"],
        "stepladder.data_hash": header["data"]["content_hash"],
        "stepladder.dvc_lock": header["dvc_lock"],
        "stepladder.world_size": str(header.get("world_size", 1)),
        "stepladder.study": header.get("study", ""),
        "stepladder.flow_run": header.get("flow_run", ""),
    }
    return {name: value for name, value in tags.items() if value}


def user() -> str:
    """The name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def _find(client: Any, experiment: str, tag: str, value: str) -> Any:
    matches = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=1)
    return matches[0] if matches else None


def _log_params(client: Any, run_id: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    entities = [Param(key, str(value)) for key, value in params.items()]
    for start in range(0, len(entities), PARAMS_A_REQUEST):
        client.log_batch(run_id, params=entities[start : start + PARAMS_A_REQUEST])


def _log_data(client: Any, run_id: str, data: Data) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"name": data["name"], "content_hash": data["content_hash"]})
    dataset = Dataset(data["name"], data["content_hash"][:16], "stepladder", source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
