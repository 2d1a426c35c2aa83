"""``stepladder sync``: sends the journals, evaluations and registered models that the store lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from stepladder import history, project
from stepladder.errors import UserError
from stepladder.params import Params, load
from stepladder.registration import Registration
from stepladder.tracking import evaluations, journals, runs, store
from stepladder.tracking.rejudging import Judge


@store.answering()
def sync(paths: list[Path], judging: Callable[[Params], Judge] | None = None) -> str:
    """Send every journal under ``paths`` (default: those of the project), then evaluations and registrations.

    A journal without a run in the store, because it was written without a store or the store is new, gets a run. A journal
    that a training is still writing is skipped; a damaged one is named and skipped. It can be repeated, on any machine, and
    completes interrupted calls. Returns a sentence that says what was sent.

    Args:
        judging: makes the judge of champions whose figures are of other held-out data; ``None``: they are not judged again.

    Raises:
        UserError: there is no store to send to, it fails, or a path does not exist.
    """
    if not store.uri():
        raise UserError("There is no tracking store to send to: install mlflow, and unset STEPLADDER_TRACKING.")
    absent = [str(path) for path in paths if not path.exists()]
    if absent:
        raise UserError(f"{', '.join(absent)} does not exist; name journals, or folders that hold some.")
    models, reports = project.root() / "models", project.root() / "reports"
    homes = paths or [models, history.home(), project.checkpoints()]
    files = sorted({journal for home in homes for journal in _journals(home)})
    sent, notes = 0, []
    for journal in files:
        try:
            sent += _journal(journal)
        except (ValueError, KeyError, TypeError) as error:
            notes.append(f"{journal} is damaged ({error!r}) and was passed over.")
    summary = f"{len(files)} journals, {sent} lines sent"
    if not paths:
        summary += f"; {_evaluations(models, reports)} evaluations"
        registered = _registrations(models, reports, judging)
        summary += f"; {len(registered)} models registered"
        if registered:
            notes.append("`stepladder report` shows them in the report.")
    return " ".join([f"{summary}: {store.safe_uri()} has everything.", *notes])


def _journals(home: Path) -> list[Path]:
    """The journals in the folder ``home`` and of the models in it; a file is itself a journal."""
    if home.is_file():
        return [home]
    return [*home.rglob(history.JOURNAL), *map(history.journal, history.models(home))]


def _journal(journal: Path) -> int:
    runs.header_of(journal)  # raises where it is damaged
    return 0 if _being_written(journal) else journals.send(journal)[1]


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
    pairs = [(folder, reports / folder.relative_to(models)) for folder in history.models(models)]
    evaluated = [(model, report) for model, report in pairs if (report / "metrics.json").exists()]
    for model, report in evaluated:
        evaluations.record(model, report)
    if (reports / "comparison.json").exists():
        evaluations.record_comparison(models, reports)
    return len(evaluated)


def _registrations(models: Path, reports: Path, judging: Callable[[Params], Judge] | None) -> list[Registration]:
    if not (reports / "registered.json").exists():
        return []
    from stepladder.tracking import registry

    params = load(project.root() / "params.yaml")
    return registry.restore(params, models, reports, judging(params) if judging else None)
