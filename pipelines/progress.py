"""Shows the progress of a training on the Prefect page: an artifact that follows the training's journal."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipelines import clients
from stepladder.journal.record import Line

if TYPE_CHECKING:
    from stepladder.training.worker import Spec

EVERY_SECONDS = 2.0
TAIL_BYTES = 8192


@contextmanager
def published(stage: str, workspace: Path, root: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """While the block runs ``stage``, show the progress of its training, if it trains.

    ``root`` is the project that owns the checkpoints. If the page does not answer, ``warn`` gets one line.
    """
    stopped, start, finished = threading.Event(), time.time(), False
    follower = _Follower(stage, workspace, root / ".checkpoints", start, warn)

    def poll() -> None:
        while not stopped.wait(EVERY_SECONDS):
            follower.look()

    thread = threading.Thread(target=clients.with_own_client(poll), daemon=True)
    thread.start()
    try:
        yield
        finished = True
    finally:
        stopped.set()
        thread.join(timeout=30)
        if finished:
            follower.finish()


class _Follower:
    def __init__(
        self, stage: str, workspace: Path, checkpoints: Path, began: float, warn: Callable[[str], None]
    ) -> None:
        self.stage, self.workspace, self.checkpoints, self.began, self.warn = stage, workspace, checkpoints, began, warn
        self.training: tuple[Path, Spec] | None = None
        self.artifact: Any = None
        self.last_words = ""

    def look(self) -> None:
        """Look for the training, then show the newest metrics of its journal if they have changed."""
        self.training = self.training or training(self.stage, self.workspace, self.checkpoints, self.began)
        if self.training is not None and (last := last_figures(self.training[0] / "journal.jsonl")):
            spec, step = self.training[1], last["step"]
            losses = [f"{name} {value:.4g}" for name, value in last["metrics"].items() if name.endswith("loss")]
            words = ", ".join([f"{spec['name']}: step {step} of {spec['steps']}", *losses])
            self._show(100.0 * step / spec["steps"], words)

    def finish(self) -> None:
        if self.artifact is not None and self.training is not None:
            self._show(100.0, f"{self.training[1]['name']}: all {self.training[1]['steps']} steps")

    def _show(self, progress: float, words: str) -> None:
        if words == self.last_words:
            return
        try:
            if self.artifact is None:
                key = re.sub(r"[^a-z0-9]+", "-", self.stage.lower()).strip("-")
                self.artifact = create_progress_artifact(progress=progress, key=key, description=words)
            else:
                update_progress_artifact(self.artifact, progress=progress, description=words)
        except Exception as error:
            if not self.last_words.startswith("!"):
                self.warn(f"the page does not show the progress of {self.stage}: {type(error).__name__}: {error}")
            self.last_words = "!"
        else:
            self.last_words = words


def training(stage: str, workspace: Path, checkpoints: Path, since: float) -> tuple[Path, Spec] | None:
    """The folder and the spec of the training that ``stage`` started in ``workspace`` after ``since`` (unix seconds)."""
    family, _, timesteps = stage.removeprefix("train-").partition("@")
    for file in checkpoints.glob("*/spec.json"):
        try:
            if file.stat().st_mtime < since - 1:
                continue
            spec: Spec = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is being written, or has just finished
            continue
        is_here = Path(spec["data"]).is_relative_to(workspace)
        if is_here and (spec["family"], str(spec["timesteps"] or "")) == (family, timesteps):
            return file.parent, spec
    return None


def last_figures(journal: Path) -> Line | None:
    """The last complete line of ``journal`` that has figures; ``None`` where there is none yet."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    for text in reversed(lines):
        try:
            line: Line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "metrics" in line:
            return line
    return None
