"""``stepladder sync``: what the store lacks of journals, evaluations and registered models."""

from __future__ import annotations

from pathlib import Path

from stepladder import project
from stepladder.errors import UserError
from stepladder.tracking import evaluations, forward, runs, store


def sync(paths: list[Path]) -> str:
    """Send every journal under ``paths`` (default: those of the project), then evaluations and registrations.

    A journal whose run the store does not have, because it was written without one or the store is new, gets a run.
    Works again and again, and from any machine. Returns a sentence of what was sent.

    Raises:
        UserError: there is no store to send to.
    """
    if not store.uri():
        raise UserError("There is no tracking store to send to: install mlflow, and unset STEPLADDER_TRACKING.")
    homes = paths or [project.root() / "models", project.checkpoints()]
    journals = sorted({j for home in homes for j in ([home] if home.is_file() else home.rglob("journal.jsonl"))})
    sent = opened = 0
    for journal in journals:
        header = runs.header_of(journal)
        run = runs.of_header(header)
        if run is None:
            run, opened = runs.open_run(header), opened + 1
            if (journal.parent / "run.json").exists():
                runs.close_run(run, "FINISHED")
        sent += forward.forward(journal, run)
    recorded = registered = 0
    if not paths:
        recorded = _evaluations(project.root() / "models", project.root() / "reports")
        registered = _registrations(project.root() / "models", project.root() / "reports")
    return (
        f"{len(journals)} journals: {sent} lines sent, {opened} runs made; {recorded} evaluations looked through, "
        f"{registered} models registered in {store.uri()}."
    )


def _evaluations(models: Path, reports: Path) -> int:
    pairs = [(folder, reports / folder.relative_to(models)) for folder in (p.parent for p in models.rglob("run.json"))]
    there = [(model, report) for model, report in pairs if (report / "metrics.json").exists()]
    for model, report in there:
        evaluations.record(model, report)
    if (reports / "comparison.json").exists():
        evaluations.record_comparison(models, reports)
    return len(there)


def _registrations(models: Path, reports: Path) -> int:
    if not (reports / "registered.json").exists():
        return 0
    from stepladder.params import load
    from stepladder.tracking import registry

    return registry.restore(load(), models, reports)
