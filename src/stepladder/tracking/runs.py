"""Runs: one parent a sweep, one child a training, found again by the content they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepladder.tracking import store

KEY, SWEEP = "stepladder.key", "stepladder.sweep"


def open_run(header: dict[str, Any]) -> dict[str, Any]:
    """The run of the training that ``header`` describes, and the parent of its sweep; made where missing.

    A training that goes on where it was stopped gets its run again, set running, its attempts counted in a tag.

    Returns:
        ``run_id``, ``parent_run_id`` (or ``None``), ``experiment_id``, ``tracking_uri``.
    """
    client, experiment = store.client(), store.experiment(header["experiment"])
    with store.lock(f"runs-{header['key']}"):
        parent = _parent(client, experiment, header) if header.get("sweep_key") else None
        found = _find(client, experiment, KEY, header["key"])
        if found is None:
            run_id = _create(client, experiment, header, parent)
        else:
            run_id = found.info.run_id
            if found.info.status != "RUNNING":
                client.update_run(run_id, status="RUNNING")
            client.set_tag(run_id, "stepladder.attempts", int(found.data.tags.get("stepladder.attempts", 1)) + 1)
    return {"run_id": run_id, "parent_run_id": parent, "experiment_id": experiment, "tracking_uri": store.uri()}


def close_run(run: dict[str, Any], status: str) -> None:
    """End ``run`` as FINISHED, FAILED or KILLED; a sweep's parent is finished once a child is."""
    client = store.client()
    client.set_terminated(run["run_id"], status)
    if run.get("parent_run_id") and status == "FINISHED":
        client.set_terminated(run["parent_run_id"], "FINISHED")


def of_model(folder: Path) -> dict[str, Any] | None:
    """The run, in the present store, of the model in ``folder``: as its ``run.json`` says, else by its content."""
    recorded = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if _known(recorded.get("run_id")):
        return dict(recorded)
    return of_header(header_of(folder / "journal.jsonl"))


def of_header(header: dict[str, Any]) -> dict[str, Any] | None:
    """The run, in the present store, of the training that ``header`` describes; ``None`` where there is none."""
    client, experiment = store.client(), store.experiment(header["experiment"])
    found = _find(client, experiment, KEY, header["key"])
    if found is None:
        return None
    parent = found.data.tags.get("mlflow.parentRunId")
    return {"run_id": found.info.run_id, "parent_run_id": parent, "experiment_id": experiment}


def header_of(journal: Path) -> dict[str, Any]:
    """The first line of a journal."""
    with journal.open(encoding="utf-8") as file:
        return dict(json.loads(file.readline())["header"])


def _known(run_id: str | None) -> bool:
    """Whether the store has this run."""
    if not run_id:
        return False
    from mlflow.exceptions import MlflowException

    try:
        return store.client().get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _parent(client: Any, experiment: str, header: dict[str, Any]) -> str:
    with store.lock(f"sweep-{header['sweep_key']}"):
        found = _find(client, experiment, SWEEP, header["sweep_key"])
        if found is not None:
            return str(found.info.run_id)
        name = f"sweep {header['data']['name']} {header['sweep_key'][:6]}"
        tags = {
            SWEEP: header["sweep_key"],
            "mlflow.note.content": "One training for each T; quality is logged with step = S.",
        }
        parent = client.create_run(experiment, run_name=name, tags=tags | _origin(header))
        _log_params(client, parent.info.run_id, header["params"])
        return str(parent.info.run_id)


def _create(client: Any, experiment: str, header: dict[str, Any], parent: str | None) -> str:
    tags = {KEY: header["key"], "stepladder.attempts": "1"} | _origin(header)
    if parent:
        tags |= {"mlflow.parentRunId": parent}
    start = int(1000 * header["started"])
    run = client.create_run(experiment, run_name=header["run_name"], tags=tags, start_time=start)
    params = dict(header["params"])
    if header["timesteps"] is not None:
        params["timesteps"] = header["timesteps"]
    _log_params(client, run.info.run_id, params)
    _log_data(client, run.info.run_id, header["data"])
    return str(run.info.run_id)


def _origin(header: dict[str, Any]) -> dict[str, str]:
    return {
        "stepladder.family": header["family"],
        "stepladder.data": header["data"]["name"],
        "stepladder.data_hash": header["data"]["content_hash"],
        "mlflow.source.git.commit": header["git_commit"] or "",
        "stepladder.git_dirty": str(header["git_dirty"]).lower(),
        "stepladder.dvc_lock": header["dvc_lock"] or "",
    }


def _find(client: Any, experiment: str, tag: str, value: str) -> Any:
    found = client.search_runs([experiment], f"tags.`{tag}` = '{value}'", max_results=1)
    return found[0] if found else None


def _log_params(client: Any, run_id: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in params.items()])


def _log_data(client: Any, run_id: str, data: dict[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"name": data["name"], "content_hash": data["content_hash"]})
    dataset = Dataset(data["name"], data["content_hash"][:16], "stepladder", source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
