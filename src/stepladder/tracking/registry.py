"""The registry: the models that others load by ``models:/NAME@champion``.

Each new version becomes ``@challenger``, and ``@champion`` where it passes the gate of ``promotion``: the figures that it is
judged by are tags of the versions.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from stepladder.data.texts import tokenizer_of, words
from stepladder.errors import UserError
from stepladder.params import Params, Promotion
from stepladder.tracking import aliases, forward, loadable, promotion, runs, store

KEY, SETTINGS = "stepladder.key", "stepladder.settings"


@dataclass(frozen=True)
class Candidate:
    """A model to be registered, and the figure it is judged by.

    Attributes:
        smaller_is_better: of the figure.
        judged: how the figure was found; figures found in different ways are not compared.
        settings: what the served model does unless it is told otherwise.
        example: rows that it can answer: classes and texts, or sentences.
        tags: further figures, for its version.
    """

    family: str
    folder: Path
    figure: str
    value: float
    smaller_is_better: bool
    judged: str
    settings: dict[str, Any]
    example: list[dict[str, str]]
    tags: dict[str, Any]

    @cached_property
    def header(self) -> dict[str, Any]:
        return runs.header_of(self.folder / "journal.jsonl")

    @property
    def name(self) -> str:
        """``diffusion-digits``: the family and the data, in lower case."""
        return re.sub(r"[^a-z0-9_.-]+", "-", f"{self.family}-{self.header['data']['name']}".lower())

    @property
    def identity(self) -> dict[str, str]:
        """Tags by which a version is found again: the same training, served with the same settings."""
        settings = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        return {KEY: self.header["key"], SETTINGS: settings}


@store.answering()
def register(params: Params, models: Path, reports: Path) -> dict[str, Any]:
    """Register the recommended diffusion model and the language model; writes ``reports/registered.json``.

    Doing it again registers nothing twice. Without a store the file says so. A model that enlarges pictures is left out:
    the columns of a served model hold names and texts.

    Raises:
        UserError: there is no comparison yet, or the store does not take the models.
    """
    candidates = _candidates(params, models, reports)
    found = [_register(candidate, params.promotion) for candidate in candidates] if store.uri() else []
    result: dict[str, Any] = {"tracking_uri": store.shown(), "models": found}
    if not store.uri():
        result["why"] = (
            "there was no tracking store (STEPLADDER_TRACKING=journal, or MLflow is not installed); "
            "`stepladder sync` registers them once there is one"
        )
    (reports / "registered.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


@store.answering()
def registered_runs() -> set[str]:
    """The runs whose models are registered, under whatever name; none where there is no store."""
    if not store.uri():
        return set()
    return {str(version.run_id) for version in store.client().search_model_versions() if version.run_id}


@store.answering()
def restore(params: Params, models: Path, reports: Path) -> list[dict[str, Any]]:
    """Register again what the present store lacks of ``reports/registered.json``; returns that.

    It is done as it was then: what parameters or models have become since, ``register`` registers. Only where there was no
    store then are ``params`` asked.
    """
    client = store.client()
    candidates = _candidates(params, models, reports)
    before = json.loads((reports / "registered.json").read_text(encoding="utf-8"))["models"]
    if before:
        settings = {(model["name"], model.get("key")): model.get("settings") for model in before}
        candidates = [
            replace(c, settings=settings[c.name, c.header["key"]])
            for c in candidates
            if (c.name, c.header["key"]) in settings
        ]
    return [_register(candidate, params.promotion) for candidate in candidates if _version(client, candidate) is None]


def _candidates(params: Params, models: Path, reports: Path) -> list[Candidate]:
    try:
        comparison = json.loads((reports / "comparison.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{reports}/comparison.json does not exist; `stepladder compare`, or `dvc repro`, makes it."
        ) from None
    found = []
    if (point := comparison.get("recommended")) and not _enlarges(models / "diffusion" / f"T{point['timesteps']}"):
        floor = (comparison.get("floor") or {}).get("frechet")
        judged = f"{point.get('images')} pictures" + (f", floor {floor:.3g}" if floor else "")
        scale = params.sampling.guidance_scale
        folder = models / "diffusion" / f"T{point['timesteps']}"
        found.append(
            Candidate(
                family="diffusion",
                folder=folder,
                figure="frechet",
                value=point["frechet"],
                smaller_is_better=True,
                judged=judged,
                settings={
                    "steps": point["sampling_steps"],
                    "guidance_scale": scale,
                    "seed": 0,
                    "sampling": params.sampling.model_dump(mode="json"),
                },
                example=_asked(folder),
                tags={
                    name: point.get(name)
                    for name in ("timesteps", "sampling_steps", "frechet_low", "frechet_high", "accuracy", "kid")
                },
            )
        )
    if scores := comparison.get("translation"):
        folder = models / "transformer"
        languages = _config(folder)["target_languages"]
        found.append(
            Candidate(
                family="transformer",
                folder=folder,
                figure="chrf",
                value=scores["chrf"],
                smaller_is_better=False,
                judged=f"{scores.get('sentences')} sentences, {(scores.get('signatures') or {}).get('chrf')}",
                settings={"decoding": params.decoding.model_dump(), "language": languages[0] if languages else ""},
                example=_rows(reports, "translations.jsonl", "source"),
                tags={
                    name: scores.get(name) for name in ("chrf_low", "chrf_high", "bleu", "exact_match", "perplexity")
                },
            )
        )
    if scores := comparison.get("language_model"):
        found += _language_model(params, models / "transformer", reports, scores)
    return found


def _language_model(params: Params, folder: Path, reports: Path, scores: dict[str, Any]) -> list[Candidate]:
    """A model of running text or of classes; a masked model answers nothing by itself and is not registered."""
    if scores["task"] == "lines":
        figure, file, column = "bits_per_character", "continuations.jsonl", "prompt"
        judged = f"{scores['characters']} characters, {scores['protocol']['context']}"
        settings: dict[str, Any] = {"decoding": params.decoding.model_dump()}
    elif scores["task"] == "labels":
        figure, file, column = "accuracy", "predictions.jsonl", "text"
        judged, settings = f"{scores['texts']} texts", {}
    else:
        return []
    names = (f"{figure}_low", f"{figure}_high", "perplexity", "loss", "macro_f1")
    return [
        Candidate(
            family="transformer",
            folder=folder,
            figure=figure,
            value=scores[figure],
            smaller_is_better=figure == "bits_per_character",
            judged=judged,
            settings=settings,
            example=_rows(reports, file, column),
            tags={name: scores.get(name) for name in names},
        )
    ]


def _rows(reports: Path, file: str, column: str) -> list[dict[str, str]]:
    """The first two held-out texts, as rows that the model answers."""
    with (reports / "transformer" / file).open(encoding="utf-8") as lines:
        return [{column: json.loads(line)[column]} for line in islice(lines, 2)]


def _enlarges(folder: Path) -> bool:
    """Whether the model draws from pictures, which rows of names and texts do not hold: such a one is not registered."""
    return bool(_config(folder)["model"].get("low_resolution"))


def _asked(folder: Path) -> list[dict[str, str]]:
    """Three rows that the diffusion model in ``folder`` can answer: its first classes, words of its vocabulary."""
    config = _config(folder)
    classes = [str(name) for name in config["classes"]][:3] or [""] * 3
    if not config["model"].get("vocabulary"):
        return [{"label": name} for name in classes]
    columns = {"label": classes} if config["classes"] else {}
    columns["text"] = words(tokenizer_of(folder), len(classes))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def _register(candidate: Candidate, limits: Promotion) -> dict[str, Any]:
    client, name = store.client(), candidate.name
    with store.lock("registry"):
        number = _version(client, candidate) or _create(client, candidate)
        for tag, value in _figures(candidate).items():
            client.set_model_version_tag(name, number, tag, value)
        aliases.move(client, name, aliases.CHALLENGER, number, how="register", why="the latest to be registered")
        verdict = promotion.judge(client, name, number, limits)
        promotion.settle(client, verdict, "register")
        version = client.get_model_version(name, number)
    return {
        "name": name,
        "version": number,
        "aliases": sorted(version.aliases),
        "run_id": version.run_id,
        "key": candidate.header["key"],
        "settings": candidate.settings,
        "figure": {"name": candidate.figure, "value": candidate.value},
        "why": verdict.why,
    }


def _version(client: Any, candidate: Candidate) -> str | None:
    found = client.search_model_versions(f"name = '{candidate.name}'")
    return next((str(v.version) for v in found if candidate.identity.items() <= v.tags.items()), None)


def _create(client: Any, candidate: Candidate) -> str:
    from mlflow.exceptions import MlflowException

    run = runs.of_model(candidate.folder)
    if run is None:
        run = runs.open_run(candidate.header)
        forward.forward(candidate.folder / "journal.jsonl", run)
        runs.close_run(run, "FINISHED")
    logged = loadable.log(
        client, run["run_id"], candidate.family, candidate.folder, candidate.settings, candidate.example
    )
    try:
        client.create_registered_model(candidate.name, description=_description(candidate))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        candidate.name,
        source=logged.model_uri,
        run_id=run["run_id"],
        tags=candidate.identity | _figures(candidate) | _parent(run),
        model_id=logged.model_id,
    )
    return str(made.version)


def _parent(run: dict[str, Any]) -> dict[str, str]:
    return {"sweep_run": run["parent_run_id"]} if run.get("parent_run_id") else {}


def _description(candidate: Candidate) -> str:
    """What the registry's page says of the model."""
    return (
        f"`@champion` is the best by {candidate.figure}, `@challenger` the latest. To use it: `mlflow.pyfunc.load_model("
        f'"models:/{candidate.name}@champion").predict([{json.dumps(candidate.example[0], ensure_ascii=False)}])`'
    )


def _figures(candidate: Candidate) -> dict[str, str]:
    """Tags of its version that say what it is and how good."""
    header = candidate.header
    tags = candidate.tags | {
        candidate.figure: candidate.value,
        promotion.FIGURE: candidate.figure,
        promotion.SMALLER: str(candidate.smaller_is_better).lower(),
        "judged": candidate.judged,
        "data": header["data"]["name"],
        "data_hash": header["data"]["content_hash"],
        "git_commit": header["git_commit"],
        "git_dirty": str(header["git_dirty"]).lower(),
        "dvc_lock": header["dvc_lock"],
        "study": header.get("study") or None,
        "flow_run": header.get("flow_run") or None,
    }
    return {name: str(value) for name, value in tags.items() if value is not None}
