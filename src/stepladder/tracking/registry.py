"""The registry: the models that others load by ``models:/NAME@champion``.

Each new version becomes ``@challenger``, and ``@champion`` where it passes the gate of ``promotion``: the figures that it is
judged by are tags of the versions. An interrupted registration is completed by repeating the call.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from stepladder import history
from stepladder.judgement import identity
from stepladder.params import Params, Promotion
from stepladder.registration import Registered, Registration
from stepladder.tracking import aliases, candidates, journals, loadable, promotion, runs, store
from stepladder.tracking.candidates import Candidate
from stepladder.tracking.rejudging import Judge

REGISTERED = "registered.json"


@store.answering()
def register(params: Params, models: Path, reports: Path, judge: Judge | None = None) -> Registered:
    """Register the recommended diffusion model and the language model; writes ``reports/registered.json``, which says what is to be
    registered. Versions and aliases in this store go to the history (``history.REGISTRATION``) and are returned with it.

    A repeated call registers nothing twice. Without a store the history says so. A model that enlarges pictures is left out.

    Args:
        judge: judges a champion again whose figures are of other held-out data; ``None``: such a champion stays.

    Raises:
        UserError: there is no comparison yet, it is of another training or other data than those in place, or the store does
            not take the models.
    """
    comparison = candidates.read(reports)
    identity.check_comparison(comparison, models, reports)
    wanted = candidates.of(comparison, params, models, reports)
    registrations = [_register(c, params.promotion, judge) if store.uri() else _decided(c) for c in wanted]
    result: Registered = {"tracking_uri": store.safe_uri(), "models": registrations}
    if not store.uri():
        result["why"] = (
            "there was no tracking store (STEPLADDER_TRACKING=journal, or MLflow is not installed); "
            "`stepladder sync` registers them once there is one"
        )
    history.write(reports / REGISTERED, result, history.REGISTRATION)
    return result


@store.answering()
def registered_runs() -> set[str]:
    """Ids of the runs whose models are registered, under any name; none where there is no store."""
    if not store.uri():
        return set()
    return {str(version.run_id) for version in store.client().search_model_versions() if version.run_id}


@store.answering()
def restore(params: Params, models: Path, reports: Path, judge: Judge | None = None) -> list[Registration]:
    """Register again the models of ``reports/registered.json`` that the present store lacks; returns these.

    They are registered with their former settings; ``register`` is for changed parameters or models. ``params`` matter only
    where there was no store at that time. An interrupted call is completed.
    """
    comparison = candidates.read(reports)
    judged = {name: (entry or {}).get("model") for name, entry in (comparison.get("judged") or {}).items()}
    wanted = [
        candidate
        for candidate in candidates.of(comparison, params, models, reports)
        if judged.get(candidate.folder.relative_to(models).as_posix()) in (None, candidate.header["key"])
    ]
    known: Registered = history.read(reports / REGISTERED)
    before = known["models"]
    if before:
        settings = {(model["name"], model.get("key")): model.get("settings", {}) for model in before}
        wanted = [
            replace(c, settings=settings[c.name, c.header["key"]])
            for c in wanted
            if (c.name, c.header["key"]) in settings
        ]
    registrations = [_register(candidate, params.promotion, judge) for candidate in wanted if not _complete(candidate)]
    if registrations and before:
        now = {(model["name"], model["key"]): model for model in registrations}
        merged = [now.get((model["name"], model["key"]), model) for model in before]
        history.write(reports / REGISTERED, {"tracking_uri": store.safe_uri(), "models": merged}, history.REGISTRATION)
    return registrations


def _register(candidate: Candidate, limits: Promotion, judge: Judge | None) -> Registration:
    client, name = store.client(), candidate.name
    with store.lock("registry"):
        number = _version(client, candidate) or _create(client, candidate)
        aliases.complete(client, name)
        for tag, value in candidate.tags.items():
            client.set_model_version_tag(name, number, tag, value)
        aliases.move(client, name, aliases.CHALLENGER, number, how="register", why="the latest to be registered")
        verdict = promotion.judge(client, name, number, limits, judge)
        promotion.apply_verdict(client, verdict, "register")
        version = client.get_model_version(name, number)
    return {
        **_decided(candidate),
        "version": number,
        "aliases": sorted(version.aliases),
        "run_id": version.run_id,
        "why": verdict.why,
    }


def _decided(candidate: Candidate) -> Registration:
    """The part of a registration that does not depend on the store."""
    return {
        "name": candidate.name,
        "key": candidate.header["key"],
        "settings": candidate.settings,
        "figure": {"name": candidate.figures.name, "value": candidate.figures.value},
    }


def _version(client: Any, candidate: Candidate) -> str | None:
    versions = client.search_model_versions(f"name = '{candidate.name}'")
    return next((str(v.version) for v in versions if candidate.identity.items() <= v.tags.items()), None)


def _complete(candidate: Candidate) -> bool:
    """Whether the store has the version and the gate's verdict on it, and no change of an alias is pending."""
    client = store.client()
    if (number := _version(client, candidate)) is None:
        return False
    pending = aliases.PENDING in client.get_registered_model(candidate.name).tags
    return not pending and aliases.VERDICT in client.get_model_version(candidate.name, number).tags


def _create(client: Any, candidate: Candidate) -> str:
    from mlflow.exceptions import MlflowException

    run = runs.of_model(candidate.folder)
    if run is None or run.get("status", "FINISHED") != "FINISHED":
        run, _ = journals.send(history.journal(candidate.folder))
    logged = loadable.log(
        client,
        run["run_id"],
        candidate.family,
        candidate.folder,
        candidate.settings,
        candidate.example,
        candidate.needed_models,
    )
    try:
        client.create_registered_model(candidate.name, description=candidate.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    parent = {"sweep_run": run["parent_run_id"]} if run.get("parent_run_id") else {}
    version = client.create_model_version(
        candidate.name,
        source=logged.model_uri,
        run_id=run["run_id"],
        tags=candidate.identity | candidate.tags | parent,
        model_id=logged.model_id,
    )
    return str(version.version)
