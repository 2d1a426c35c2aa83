"""Sends a journal that no training writes any more, in full: its run, its lines and its end."""

from __future__ import annotations

from pathlib import Path

from stepladder import history
from stepladder.journal import record
from stepladder.tracking import forward, runs


def send(journal: Path) -> tuple[runs.Tracked, int]:
    """Send what the store lacks of ``journal``, and close its run; returns the run and the number of lines sent.

    The run is closed last: a run that is still open was interrupted, and the next call completes it.
    """
    header = runs.header_of(journal)
    run = runs.completed(header) or runs.open_run(header)
    sent = forward.forward(journal, run)
    finished = (journal.parent / history.RUN).exists()
    if run.get("status") not in ("FINISHED", "FAILED", "KILLED") or (finished and run["status"] != "FINISHED"):
        runs.close_run(run, "FINISHED" if finished else "KILLED", record.read(journal)[-1].get("time"))
    return run, sent
