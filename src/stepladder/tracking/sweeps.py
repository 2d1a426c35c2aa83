"""What a whole sweep gives, in the run that its children are nested in."""

from __future__ import annotations

import json
from typing import Any

from stepladder.tracking import runs, store


@store.answering()
def record(name: str, metric: str, found: dict[str, Any]) -> None:
    """Log the table ``found`` (``sweeps/NAME/results.json``) in the parent run of the sweep ``name``, where it has one.

    Means and intervals have step = place in the table, from 1; ``best/...`` are of the first. The run is finished when a point is.
    """
    client = store.client()
    parents = _parents(client, name)
    if not parents:
        return
    parent = parents[0].info.run_id
    known = [(place, row) for place, row in enumerate(found["rows"], 1) if row["mean"] is not None]
    for place, row in known:
        for figure in ("mean", "low", "high"):
            if row[figure] is not None:
                client.log_metric(parent, f"{metric}/{figure}", row[figure], step=place)
    if known:
        best = known[0][1]
        client.log_metric(parent, f"best/{metric}", best["mean"])
        client.set_tag(parent, "stepladder.best", json.dumps(best["point"]))
    counts = {"finished": len(known), "unfinished": len(found["rows"]) - len(known)}
    for word, count in counts.items():
        client.log_metric(parent, f"points/{word}", count)
    client.log_dict(parent, found, "results.json")
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
