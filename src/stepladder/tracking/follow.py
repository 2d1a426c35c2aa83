"""Follows a training from a thread of its parent process: opens its run, and forwards its journal while it grows."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder.errors import UserError
from stepladder.journal.record import Header
from stepladder.tracking import store

if TYPE_CHECKING:
    from stepladder.tracking.runs import Tracked

EVERY_SECONDS = 5.0


class Follower(threading.Thread):
    """Forwards the journal of the training that ``header`` describes, every few seconds and once at the end.

    A store that fails costs a line on the terminal and nothing else: it is tried again, and what is not sent in the end stays in
    the journal for ``stepladder sync``.
    """

    def __init__(self, journal: Path, header: Header) -> None:
        super().__init__(daemon=True)
        self.journal, self.header = journal, header
        self.nowhere = {"run_id": None, "parent_run_id": None, "tracking_uri": store.safe_uri()}
        self.opened: Tracked | None = None
        self.over = threading.Event()
        self.status = "FINISHED"

    def open(self) -> None:
        """Open the run where the store is a server, so that a login that may not write is refused before any work.

        Raises:
            Refused: by the server. Whatever else fails is tried again while the training runs.
        """
        if store.is_server():
            from stepladder.tracking import login, runs

            try:
                self.opened = runs.open_run(self.header)
            except login.Refused:
                raise
            except UserError:
                return

    def run(self) -> None:
        if not store.uri():
            return
        last_error = ""
        while True:
            over = self.over.is_set()  # read before forwarding, so that all lines until then are sent
            try:
                self._forward(over)
                last_error = ""
            except Exception as error:
                if not last_error:
                    print(f"tracking: {error} The training goes on.", flush=True)
                last_error = str(error)
            if over:
                break
            self.over.wait(EVERY_SECONDS)
        if last_error:
            print(f"tracking: {last_error}", flush=True)

    def finish(self, status: str) -> Mapping[str, object]:
        """Wait, no longer than a minute, until all is sent, and close the run as ``status``; returns the run."""
        self.status = status
        self.over.set()
        self.join(timeout=60)
        return {**self.nowhere, **(self.opened or {})}

    def _forward(self, over: bool) -> None:
        from stepladder.tracking import forward, runs

        if self.opened is None:
            self.opened = runs.open_run(self.header)
        if self.journal.exists():
            forward.forward(self.journal, self.opened)
        if over:
            runs.close_run(self.opened, self.status)
