"""Records the results of a sweep in the parent run of its children."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict

from stepladder.tracking import runs, store


class Row(TypedDict):
    """A point; ``None`` where its seeds give no value yet."""

    point: Mapping[str, object]  # its values by dotted key
    mean: float | None
    low: float | None
    high: float | None
    deviation: float | None
    each: Mapping[int, float | None]  # by seed, as ``unfinished``
    sampling_steps: int | None
    seconds: float | None
    unfinished: Mapping[int, str]  # why


class Table(TypedDict):
    """``results.json`` of a sweep, the best point first."""

    metric: str
    direction: str
    seeds: list[int]
    rows: list[Row]


@store.answering()
def record(name: str, metric: str, table: Table) -> None:
    """Log ``table`` (``sweeps/NAME/results.json``) in the parent run of the sweep ``name``, where it has one.

    Means and intervals have step = place in the table, from 1; ``best/...`` is the first point. One finished point finishes the run.
    """
    client = store.client()
    parents = _parents(client, name)
    if not parents:
        return
    parent = parents[0].info.run_id
    known = [(place, row, mean) for place, row in enumerate(table["rows"], 1) if (mean := row["mean"]) is not None]
    for place, row, mean in known:
        for figure, value in (("mean", mean), ("low", row["low"]), ("high", row["high"])):
            if value is not None:
                client.log_metric(parent, f"{metric}/{figure}", value, step=place)
    if known:
        _, best, mean = known[0]
        client.log_metric(parent, f"best/{metric}", mean)
        client.set_tag(parent, "stepladder.best", json.dumps(best["point"]))
    counts = {"finished": len(known), "unfinished": len(table["rows"]) - len(known)}
    for word, count in counts.items():
        client.log_metric(parent, f"points/{word}", count)
    client.log_dict(parent, {**table}, "results.json")
    client.set_terminated(parent, "FINISHED" if known else "FAILED")


def _parents(client: Any, name: str) -> list[Any]:
    experiments = client.search_experiments(filter_string=f"name LIKE 'sweep-{name}-%'")
    return [
        run
        for experiment in experiments
        for run in client.search_runs(
            [experiment.experiment_id], f"tags.mlflow.runName = 'sweep {name}' AND tags.`{runs.SWEEP}` LIKE '%'"
        )
    ]
