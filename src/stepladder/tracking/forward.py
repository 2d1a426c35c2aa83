"""From the journal to the store: the lines that it does not have yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepladder.tracking import store

SENT = "stepladder.journal_lines"
BATCH = 1000


def read(journal: Path) -> list[dict[str, Any]]:
    """Its complete lines; the header first."""
    content = journal.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def forward(journal: Path, run: dict[str, Any]) -> int:
    """Send what ``run`` lacks of ``journal``; returns the number of lines sent.

    How many lines the store has is a tag of the run, set in the same request as the figures: it can be done again, and
    from another machine, without sending anything twice.
    """
    from mlflow.entities import Metric, RunTag

    client, run_id = store.client(), run["run_id"]
    lines = read(journal)
    sent = int(client.get_run(run_id).data.tags.get(SENT, 0))
    batch: list[Any] = []

    def flush(number: int) -> None:
        client.log_batch(run_id, metrics=batch, tags=[RunTag(SENT, str(number))])
        batch.clear()

    for number, line in enumerate(lines[sent:], start=sent + 1):
        if "metrics" in line:
            figures = [Metric(k, v, int(1000 * line["time"]), line["step"]) for k, v in line["metrics"].items()]
            if len(batch) + len(figures) > BATCH:
                flush(number - 1)
            batch += figures
        elif "artifact" in line:
            file = journal.parent / line["artifact"]
            if file.exists():
                client.log_artifact(run_id, str(file), str(Path(line["artifact"]).parent))
    if len(lines) > sent:
        flush(len(lines))
    return len(lines) - sent
