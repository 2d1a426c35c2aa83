"""``stepladder sync``: what the store lacks of journals, evaluations and registered models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stepladder import project
from stepladder.errors import UserError
from stepladder.tracking import evaluations, forward, runs, store


@store.answering()
def sync(paths: list[Path]) -> str:
    """Send every journal under ``paths`` (default: those of the project), then evaluations and registrations.

    A journal whose run the store does not have, because it was written without one or the store is new, gets a run. One
    that a training is writing now is left to it; a damaged one is named and passed over. Works again and again, and from
    any machine. Returns a sentence of what was sent.

    Raises:
        UserError: there is no store to send to, it fails, or a path does not exist.
    """
    if not store.uri():
        raise UserError("There is no tracking store to send to: install mlflow, and unset STEPLADDER_TRACKING.")
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise UserError(f"{', '.join(absent)} does not exist; name journals, or folders that hold some.")
    models, reports = project.root() / "models", project.root() / "reports"
    homes = paths or [models, project.checkpoints()]
    journals = sorted({j for home in homes for j in ([home] if home.is_file() else home.rglob("journal.jsonl"))})
    sent, notes = 0, []
    for journal in journals:
        try:
            sent += _journal(journal)
        except (ValueError, KeyError, TypeError) as error:
            notes.append(f"{journal} is damaged ({error!r}) and was passed over.")
    summary = f"{len(journals)} journals, {sent} lines sent"
    if not paths:
        summary += f"; {_evaluations(models, reports)} evaluations"
        registered = _registrations(models, reports)
        summary += f"; {len(registered)} models registered"
        if registered:
            notes.append("`dvc repro --force --single-item register`, then `dvc repro`, shows them in the report.")
    return " ".join([f"{summary}: {store.shown()} has everything.", *notes])


def _journal(journal: Path) -> int:
    header = runs.header_of(journal)
    if _being_written(journal):
        return 0
    run = runs.of_header(header) or runs.open_run(header)
    sent = forward.forward(journal, run)
    finished = (journal.parent / "run.json").exists()
    if run.get("status") not in ("FINISHED", "FAILED", "KILLED") or (finished and run["status"] != "FINISHED"):
        last: dict[str, Any] = forward.read(journal)[-1]
        runs.close_run(run, "FINISHED" if finished else "KILLED", last.get("time"))
    return sent


def _being_written(journal: Path) -> bool:
    """Whether a training in ``.checkpoints/KEY/`` holds its lock."""
    file = journal.parent.with_suffix(".lock")
    if not file.exists():
        return False
    try:
        with FileLock(file).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _evaluations(models: Path, reports: Path) -> int:
    folders = [file.parent for file in models.rglob("run.json")]
    pairs = [(folder, reports / folder.relative_to(models)) for folder in folders]
    there = [(model, report) for model, report in pairs if (report / "metrics.json").exists()]
    for model, report in there:
        evaluations.record(model, report)
    if (reports / "comparison.json").exists():
        evaluations.record_comparison(models, reports)
    return len(there)


def _registrations(models: Path, reports: Path) -> list[dict[str, Any]]:
    if not (reports / "registered.json").exists():
        return []
    from stepladder.params import load
    from stepladder.tracking import registry

    return registry.restore(load(project.root() / "params.yaml"), models, reports)
