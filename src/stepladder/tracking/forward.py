"""Sends the lines of a journal that the store does not have yet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepladder import lineage
from stepladder.journal import record
from stepladder.tracking import store
from stepladder.tracking.runs import Tracked

FIGURES, ARTIFACTS = "stepladder.journal_figures", "stepladder.journal_artifacts"  # JOURNAL:BYTES already sent
ORIGIN = "stepladder.origin"  # where in the run the lineage is
BATCH = 1000  # figures a request: MLflow's limit


@store.answering()
def forward(journal: Path, run: Tracked) -> int:
    """Send what ``run`` lacks of ``journal``; returns the number of lines sent.

    A tag of the run records how far the store has it, so the call can be repeated, also on another machine, without sending
    anything twice. Where the run has the figures of an earlier journal of the same training, only the missing steps
    are sent. Pictures that cannot be stored do not hold up the figures.

    Raises:
        UserError: the store does not take them.
    """
    client, run_id = store.client(), run["run_id"]
    stored = client.get_run(run_id).data
    identity = _identity(journal)
    sending = _Sending(client, run_id, journal, identity)
    start, is_anew = _position(stored.tags.get(FIGURES), identity)
    history = (point for name in stored.metrics for point in client.get_metric_history(run_id, name)) if is_anew else ()
    if ORIGIN not in stored.tags or is_anew:
        sending.origin()
    sent = sending.figures(start, {(point.key, point.step) for point in history})
    return sent + sending.artifacts(_position(stored.tags.get(ARTIFACTS), identity)[0])


@dataclass(frozen=True)
class _Sending:
    """Sends one journal to one run."""

    client: Any
    run_id: str
    journal: Path
    identity: str

    def figures(self, start: int, known: set[tuple[str, int]]) -> int:
        """Send the figures from byte ``start`` on that are not ``known``; the tag is set in the same request."""
        from mlflow.entities import Metric

        batch: list[Metric] = []
        done, lines = start, 0
        for end, line in record.lines(self.journal, start):
            figures = [
                Metric(name, value, int(1000 * line["time"]), line["step"])
                for name, value in line.get("metrics", {}).items()
                if (name, line["step"]) not in known
            ]
            if len(batch) + len(figures) > BATCH:
                self._send(batch, FIGURES, done)
                batch = []
            batch += figures
            done, lines = end, lines + ("metrics" in line)
        if done > start:
            self._send(batch, FIGURES, done)
        return lines

    def origin(self) -> None:
        """Send the lineage in the journal's folder."""
        folder = self.journal.parent / lineage.FOLDER
        if folder.is_dir():
            self.client.log_artifacts(self.run_id, str(folder), lineage.FOLDER)
            self.client.set_tag(self.run_id, ORIGIN, lineage.FOLDER)

    def artifacts(self, start: int) -> int:
        """Send the files that lines from byte ``start`` on name; missing files are skipped."""
        done, files = start, 0
        for end, line in record.lines(self.journal, start):
            file = self.journal.parent / line.get("artifact", "")
            if file.is_file():
                self.client.log_artifact(self.run_id, str(file), Path(line["artifact"]).parent.as_posix())
                files += 1
            done = end
        if done > start:
            self._send([], ARTIFACTS, done)
        return files

    def _send(self, batch: list[Any], tag: str, done: int) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, metrics=batch, tags=[RunTag(tag, f"{self.identity}:{done}")])


def _identity(journal: Path) -> str:
    with journal.open("rb") as file:
        return hashlib.sha256(file.readline()).hexdigest()[:16]


def _position(tag: str | None, identity: str) -> tuple[int, bool]:
    """(byte up to which the store has the journal ``identity``, whether it has figures of another journal)."""
    journal, _, position = (tag or "").partition(":")
    return (int(position), False) if journal == identity else (0, bool(tag))
