"""``stepladder show``: how good a registered version is, where it comes from, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stepladder import lineage
from stepladder.params import Params, flatten
from stepladder.tracking import figures, flow_runs, health, references, store

HASH = 16  # characters of a hash that are printed


@store.answering()
def show(uri: str) -> str:
    """A description of the version that ``uri`` names, a line for each property.

    Raises:
        UserError: the registry does not know it, or the store does not answer.
    """
    client = health.registry()
    name, number = references.version(client, uri)
    version = client.get_model_version(name, number)
    run_id = str(version.run_id)
    run = client.get_run(run_id)
    tags, run_tags = version.tags, run.data.tags
    environment = json.loads(lineage.recorded(client, run_id, lineage.ENVIRONMENT) or "{}")
    kept = sorted(file.path for file in client.list_artifacts(run_id, lineage.FOLDER))
    aliases = "".join(f" @{alias}" for alias in sorted(version.aliases))
    uncommitted = f", and uncommitted changes ({lineage.FOLDER}/{lineage.DIFF})"
    lines = [
        ("model", f"{name} version {number}{aliases}, registered {_when(version.creation_timestamp)}"),
        ("verdict", tags.get("verdict", "")),
        ("figures", _figures(tags)),
        ("judged by", tags.get("judged", "")),
        ("data", f"{tags.get('data')}, content {tags.get('data_hash', '')[:HASH]}"),
        ("code", f"commit {tags.get('git_commit', 'unknown')}" + uncommitted * (tags.get("git_dirty") == "true")),
        ("DVC lock", run_tags.get("stepladder.dvc_lock", "")[:HASH]),
        (
            "trained by",
            f"`{run_tags.get('mlflow.source.name')}` of {run_tags.get('mlflow.user')}, {_when(run.info.start_time)}",
        ),
        ("attempts", run_tags.get("stepladder.attempts", "")),
        ("took", _seconds(run.info)),
        ("environment", ", ".join(f"{key} {value}" for key, value in environment.items())),
        ("versions", _versions(environment)),
        ("parameters", _parameters(run.data.params)),
        ("sweep", tags.get("sweep_run", "")),
        ("study", run_tags.get("stepladder.study", "")),
        (
            "flow run",
            " ".join(run_tags[tag] for tag in (flow_runs.FLOW_RUN, flow_runs.STATE, flow_runs.PAGE) if tag in run_tags),
        ),
        ("MLflow run", f"{run_id} in {store.safe_uri()}"),
        ("kept there", ", ".join(kept)),
        ("load it", f'mlflow.pyfunc.load_model("models:/{name}/{number}")'),
        ("make again", f"stepladder reproduce models:/{name}/{number}"),
    ]
    return "\n".join(f"{key:12s} {value}" for key, value in lines if value)


def _versions(environment: Mapping[str, object]) -> str:
    """The versions that it was made with, where they differ from the installed ones."""
    other = lineage.differences(environment, lineage.versions())
    return f"made with {other}" if other else ""


def _figures(tags: dict[str, str]) -> str:
    first = tags.get(figures.FIGURE, "")
    others = (
        "timesteps",
        "sampling_steps",
        "accuracy",
        "kid",
        "bleu",
        "exact_match",
        "perplexity",
        "megabytes",
        "seconds",
    )
    parts = [figures.text(tags)] * bool(first) + [f"{key} {float(tags[key]):.4g}" for key in others if key in tags]
    return ", ".join(parts)


def _parameters(params: dict[str, str]) -> str:
    """The parameters that differ from the defaults."""
    defaults = {key: str(value) for key, value in flatten(Params()).items()}
    changed = [f"{key}={value}" for key, value in sorted(params.items()) if defaults.get(key) != value]
    return ", ".join(changed) or "the defaults"


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _seconds(info: Any) -> str:
    return f"{(info.end_time - info.start_time) / 1000:.0f} s" if info.end_time else ""
