"""What a run leaves on the Prefect page."""

from __future__ import annotations

from pathlib import Path


def publish(workspace: Path, *, title: str, outcome: str, experiment: str | None) -> None:
    """Publish."""
