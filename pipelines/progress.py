"""How far a training is, on the Prefect page: a progress artifact that follows the training's journal."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipelines import clients

EVERY_SECONDS = 2.0
TAIL_BYTES = 8192


@contextmanager
def shown(stage: str, workspace: Path, root: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Within the block, which runs ``stage``, show how far its training is; nothing where it trains nothing.

    ``root`` is the project that owns the checkpoints. A page that does not answer costs one line of ``warn``.
    """
    over, began, done = threading.Event(), time.time(), False
    follow = _Follower(stage, workspace, root / ".checkpoints", began, warn)

    def work() -> None:
        while not over.wait(EVERY_SECONDS):
            follow.look()

    thread = threading.Thread(target=clients.apart(work), daemon=True)
    thread.start()
    try:
        yield
        done = True
    finally:
        over.set()
        thread.join(timeout=30)
        if done:
            follow.finish()


class _Follower:
    def __init__(
        self, stage: str, workspace: Path, checkpoints: Path, began: float, warn: Callable[[str], None]
    ) -> None:
        self.stage, self.workspace, self.checkpoints, self.began, self.warn = stage, workspace, checkpoints, began, warn
        self.folder: Path | None = None
        self.spec: dict[str, Any] = {}
        self.artifact: Any = None
        self.said = ""

    def look(self) -> None:
        """Find the training, then show the last figures of its journal, where there are new ones."""
        if self.folder is None:
            self.folder, self.spec = training(self.stage, self.workspace, self.checkpoints, self.began)
        if self.folder is not None and (last := last_figures(self.folder / "journal.jsonl")):
            step, steps = last["step"], self.spec["steps"]
            losses = [f"{name} {value:.4g}" for name, value in last["metrics"].items() if name.endswith("loss")]
            self._show(100.0 * step / steps, ", ".join([f"{self.spec['name']}: step {step} of {steps}", *losses]))

    def finish(self) -> None:
        if self.artifact is not None:
            self._show(100.0, f"{self.spec['name']}: all {self.spec['steps']} steps")

    def _show(self, progress: float, words: str) -> None:
        if words == self.said:
            return
        try:
            if self.artifact is None:
                key = re.sub(r"[^a-z0-9]+", "-", self.stage.lower()).strip("-")
                self.artifact = create_progress_artifact(progress=progress, key=key, description=words)
            else:
                update_progress_artifact(self.artifact, progress=progress, description=words)
        except Exception as error:
            if not self.said.startswith("!"):
                self.warn(f"the page does not show the progress of {self.stage}: {type(error).__name__}: {error}")
            self.said = "!"
        else:
            self.said = words


def training(stage: str, workspace: Path, checkpoints: Path, since: float) -> tuple[Path | None, dict[str, Any]]:
    """The folder and the spec of the training that ``stage`` started in ``workspace`` after ``since`` (unix seconds)."""
    family, _, timesteps = stage.removeprefix("train-").partition("@")
    for file in checkpoints.glob("*/spec.json"):
        try:
            spec = json.loads(file.read_text(encoding="utf-8")) if file.stat().st_mtime >= since - 1 else {}
        except (OSError, ValueError):  # it is being written, or has just finished
            continue
        here = spec and Path(spec["data"]).is_relative_to(workspace)
        if here and (spec["family"], str(spec["timesteps"] or "")) == (family, timesteps):
            return file.parent, spec
    return None, {}


def last_figures(journal: Path) -> dict[str, Any] | None:
    """The last complete line of ``journal`` that has figures; ``None`` where there is none yet."""
    try:
        with journal.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    for text in reversed(lines):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "metrics" in line:
            return line
    return None
