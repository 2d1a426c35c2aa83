"""Verbs of the registry killed before each call to the store in turn, and run again: the end is that of a run nobody disturbed.

The store is MLflow's own, in SQLite. A process that is killed makes no further call, whatever it had in mind.
"""

import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stepladder.params import Params, Promotion, render
from stepladder.tracking import aliases, loadable, promotion, registry, runs, store
from stepladder.tracking.sync import sync
from tests.tracking import made

NAME, RUN = "diffusion-digits", "stepladder.key"
TAGS = {"figure": "frechet", "smaller_is_better": "true", "data_hash": "a" * 64, "judged": "720 pictures"}


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """MLflow's client until call number ``last``."""

    def __init__(self, client: Any, life: dict[str, int]) -> None:
        self._client, self._life = client, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*given: Any, **named: Any) -> Any:
            if self._life["calls"] >= self._life["last"]:
                raise Killed(name)
            self._life["calls"] += 1
            return found(*given, **named)

        return call


@pytest.fixture
def projects(tmp_path_factory, migrated, monkeypatch) -> Callable[[], Path]:
    """Makes projects, each with an empty store; that a model is large, and slow to load, is left out."""
    for name in ("MLFLOW_TRACKING_URI", "STEPLADDER_TRACKING", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        promotion, "probe", lambda uri: {"megabytes": 1.0, "seconds_to_load": 0.5, "seconds": 0.1, "rows": 2}
    )

    def save(path: Path, *_: Any) -> None:
        path.mkdir()
        (path / "MLmodel").write_text("a model")

    monkeypatch.setattr(loadable, "_save", save)

    def make() -> Path:
        folder = tmp_path_factory.mktemp("project")
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
        (folder / "dvc.yaml").touch()
        (folder / "mlruns").mkdir()
        shutil.copy(migrated, folder / "mlruns" / "mlflow.db")
        (folder / "params.yaml").write_text(render(Params()))
        monkeypatch.chdir(folder)
        return folder

    return make


def killed_everywhere(
    make: Callable[[], Path], before: Callable[[Path], None], verb: Callable[[Path], Any], patch
) -> int:
    """Asserts what this file is about of ``verb``, after ``before``; returns how many calls there were."""
    folder = make()
    before(folder)
    kept = keep(folder)
    verb(folder)
    expected = state()
    real = store.client
    for last in itertools.count():
        put_back(folder, kept)
        life = {"calls": 0, "last": last}
        patch.setattr(store, "client", lambda life=life: Mortal(real(), life))
        try:
            verb(folder)
        except Killed as death:
            where = f"killed before call {last}, {death}"
        else:
            return last
        finally:
            patch.setattr(store, "client", real)
        verb(folder)
        assert state() == expected, where
    raise AssertionError


def keep(folder: Path) -> Path:
    """A copy of the project and its store, as they are."""
    kept = folder.with_name(f"{folder.name}-kept")
    shutil.copytree(folder, kept)
    copy_store(folder, kept)
    return kept


def put_back(folder: Path, kept: Path) -> None:
    """The project as it was kept; its store's file stays open, and gets the content of the copy."""
    for part in ("reports", "mlruns/artifacts"):
        shutil.rmtree(folder / part, ignore_errors=True)
        if (kept / part).exists():
            shutil.copytree(kept / part, folder / part)
    copy_store(kept, folder)


def copy_store(source: Path, target: Path) -> None:
    files = (folder / "mlruns" / "mlflow.db" for folder in (source, target))
    with closing(sqlite3.connect(next(files))) as a, closing(sqlite3.connect(next(files))) as b:
        a.backup(b)


def state() -> dict[str, Any]:
    """All that the store has of models and runs, without times and ids."""
    client = store.client()
    names = {run.info.run_id: run.info.run_name for run in _runs(client)}
    return {"models": [_model(client, model) for model in client.search_registered_models()],
            "runs": sorted((_run(client, run, names) for run in _runs(client)), key=lambda run: run["name"])}  # fmt: skip


def _runs(client: Any) -> list[Any]:
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def _model(client: Any, model: Any) -> dict[str, Any]:
    versions = client.search_model_versions(f"name = '{model.name}'")
    return {
        "name": model.name,
        "aliases": dict(model.aliases),
        "tags": sorted(tag for tag in model.tags if not tag.startswith(aliases.TAG)),
        "history": [(c.how, c.alias, c.before, c.after, c.why) for c in aliases.history(model.name)],
        "versions": [
            (v.version, v.description, {k: t for k, t in v.tags.items() if k != "sweep_run"}, "sweep_run" in v.tags)
            for v in sorted(versions, key=lambda v: int(v.version))
        ],
    }


def _run(client: Any, run: Any, names: dict[str, str]) -> dict[str, Any]:
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.log") and k != "mlflow.parentRunId"}
    return {
        "name": run.info.run_name,
        "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
        "status": run.info.status,
        "end": run.info.end_time if RUN in tags else bool(run.info.end_time),
        "tags": tags,
        "params": run.data.params,
        "data": [each.dataset.name for each in run.inputs.dataset_inputs],
        "points": {
            name: sorted((p.step, p.value) for p in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        },
        "logged": [
            m.status.name
            for m in client.search_logged_models([run.info.experiment_id])
            if m.source_run_id == run.info.run_id
        ],
        "outputs": len(run.outputs.model_outputs),
        "artifacts": sorted(file.path for file in client.list_artifacts(run.info.run_id, "evaluation")),
    }


def versions(*values: float) -> None:
    client = store.client()
    client.create_registered_model(NAME)
    for value in values:
        figures = {"frechet": f"{value}", "frechet_low": f"{value - 0.01}", "frechet_high": f"{value + 0.01}"}
        client.create_model_version(NAME, source="file:///nowhere", tags=TAGS | figures)


def champions(folder: Path) -> None:
    versions(0.6, 0.5, 0.4)
    for number in "123":
        promotion.promote(f"models:/{NAME}/{number}", Promotion())


def test_a_rollback_steps_down_once(projects, monkeypatch):
    calls = killed_everywhere(projects, champions, lambda _: aliases.rollback(NAME, reason="blots"), monkeypatch)
    assert calls > 5
    assert store.client().get_registered_model(NAME).aliases == {"champion": 2}
    assert store.client().get_model_version(NAME, "3").tags[aliases.ROLLED_BACK] == "blots"


@pytest.mark.parametrize("how", [{}, {"force": True, "reason": "it is prettier"}])
def test_a_promotion_happens_once(projects, monkeypatch, how):
    def before(_: Path) -> None:
        versions(0.6, 0.7 if how else 0.5)
        promotion.promote(f"models:/{NAME}/1", Promotion())

    verb = lambda _: promotion.promote(f"models:/{NAME}/2", Promotion(), **how)  # noqa: E731
    assert killed_everywhere(projects, before, verb, monkeypatch) > 5
    assert [c.after for c in aliases.history(NAME)] == ["1", "2"]


def trained(folder: Path) -> None:
    """A model, judged and compared, of which the store knows nothing."""
    begin = made.header(params={f"p{i}": i for i in range(120)})
    made.diffusion(folder / "models" / "diffusion" / "T20")
    made.finished(folder / "models" / "diffusion" / "T20", begin)
    made.evaluation(folder / "reports" / "diffusion" / "T20", 20, {1: 3.0, 2: 0.6})
    made.comparison(folder / "reports")
    comparison = json.loads((folder / "reports" / "comparison.json").read_text())
    (folder / "reports" / "comparison.json").write_text(json.dumps(comparison | {"translation": {}}))


@pytest.mark.slow
def test_a_registration_happens_once(projects, monkeypatch):
    def verb(folder: Path) -> None:
        registry.register(Params(), folder / "models", folder / "reports")

    assert killed_everywhere(projects, trained, verb, monkeypatch) > 20
    assert [run.info.status for run in _runs(store.client())] == ["FINISHED"] * 2


@pytest.mark.slow
def test_a_sync_sends_everything_once(projects, monkeypatch):
    def before(folder: Path) -> None:
        trained(folder)
        (folder / "reports" / "registered.json").write_text('{"tracking_uri": "", "models": []}')

    assert killed_everywhere(projects, before, lambda _: sync([]), monkeypatch) > 30


def test_a_change_that_can_no_more_be_made_is_forgotten(projects):
    champions(projects())
    client = store.client()
    change = aliases.Change("2026-01-01T00:00:00+00:00", "someone", "promote", "champion", "3", "9", "gone since")
    begun = {"tag": "alias.20260101T000000.0", "change": vars(change)}
    client.set_registered_model_tag(NAME, aliases.PENDING, json.dumps(begun))
    assert aliases.complete(client, NAME) is None
    assert aliases.PENDING not in client.get_registered_model(NAME).tags
    assert client.get_registered_model(NAME).aliases == {"champion": 3}


def test_another_command_completes_what_was_begun_and_does_its_own(projects, monkeypatch):
    champions(projects())
    real, life = store.client, {"calls": 0, "last": 0}
    for last in itertools.count():  # until the rollback is written down, and killed
        life |= {"calls": 0, "last": last}
        monkeypatch.setattr(store, "client", partial(lambda life: Mortal(real(), life), life))
        with pytest.raises(Killed):
            aliases.rollback(NAME, reason="blots")
        monkeypatch.setattr(store, "client", real)
        if aliases.PENDING in store.client().get_registered_model(NAME).tags:
            break
    aliases.rollback(NAME, to="1", reason="further")
    assert [(c.before, c.after, c.why) for c in aliases.history(NAME)][-2:] == [
        ("3", "2", "blots"),
        ("2", "1", "further"),
    ]
    assert runs.user()
