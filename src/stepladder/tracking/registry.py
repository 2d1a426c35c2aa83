"""The registry: the models that others load by ``models:/NAME@champion``.

A model is registered as a pyfunc model from code: ``pyfunc_FAMILY.py``, safetensors weights and JSON configuration, the source
of ``stepladder`` itself, and pinned requirements; there is no pickle in it. Each new version becomes ``@challenger``; it
becomes ``@champion`` where there is none, or where it beats the present one on the same data.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import stepladder
from stepladder.params import Params
from stepladder.tracking import runs, store

HERE = Path(__file__).parent
REQUIREMENTS = ("torch", "numpy", "pydantic", "pyyaml", "safetensors", "tokenizers", "pillow")


@dataclass(frozen=True)
class Candidate:
    """A model to be registered, and the figure it is judged by.

    Attributes:
        settings: what the served model does by default (its pyfunc's ``model_config``).
        smaller_is_better: of the figure.
    """

    family: str
    folder: Path
    figure: str
    value: float
    smaller_is_better: bool
    settings: dict[str, Any]
    tags: dict[str, str]

    @property
    def header(self) -> dict[str, Any]:
        return runs.header_of(self.folder / "journal.jsonl")

    @property
    def name(self) -> str:
        """``diffusion-digits``: the family and the data, in lower case."""
        return re.sub(r"[^a-z0-9_.-]+", "-", f"{self.family}-{self.header['data']['name']}".lower())

    @property
    def key(self) -> str:
        """The same model with the same settings is the same version."""
        settings = json.dumps(self.settings, sort_keys=True)
        return f"{self.header['key']}-{re.sub('[^a-z0-9]+', '', settings.lower())[-60:]}"


def register(params: Params, models: Path, reports: Path) -> dict[str, Any]:
    """Register the recommended diffusion model and the translation model; writes ``reports/registered.json``.

    Doing it again registers nothing twice. Without a store the file says so.
    """
    found = [] if not store.uri() else [_register(c) for c in _candidates(params, models, reports)]
    result: dict[str, Any] = {"tracking_uri": store.uri(), "models": found}
    if not found:
        result["why"] = "there was no tracking store (STEPLADDER_TRACKING=journal, or no MLflow)"
    (reports / "registered.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def restore(params: Params, models: Path, reports: Path) -> int:
    """Register again what the present store lacks; returns how many versions it lacked."""
    lacking = [c for c in _candidates(params, models, reports) if _version(store.client(), c) is None]
    return len([_register(candidate) for candidate in lacking])


def _candidates(params: Params, models: Path, reports: Path) -> list[Candidate]:
    comparison = json.loads((reports / "comparison.json").read_text(encoding="utf-8"))
    found = []
    point = comparison.get("recommended")
    if point:
        timesteps, steps = point["timesteps"], point["sampling_steps"]
        scale = params.sampling.guidance_scale
        settings = {"steps": steps, "guidance_scale": scale, "seed": 0, "sampling": params.sampling.model_dump()}
        tags = {
            "timesteps": timesteps,
            "sampling_steps": steps,
            "accuracy": point.get("accuracy"),
            "kid": point.get("kid"),
        }
        found.append(
            Candidate(
                "diffusion",
                models / "diffusion" / f"T{timesteps}",
                "frechet",
                point["frechet"],
                True,
                settings,
                _text(tags),
            )
        )
    scores = comparison.get("translation")
    if scores:
        tags = {name: scores.get(name) for name in ("bleu", "exact_match", "perplexity")}
        settings = {"decoding": params.decoding.model_dump()}
        found.append(
            Candidate("transformer", models / "transformer", "chrf", scores["chrf"], False, settings, _text(tags))
        )
    return found


def _register(candidate: Candidate) -> dict[str, Any]:
    client = store.client()
    with store.lock("registry"):
        number = _version(client, candidate) or _log(client, candidate)
        client.set_registered_model_alias(candidate.name, "challenger", number)
        why, promoted = _verdict(client, candidate, number)
        if promoted:
            client.set_registered_model_alias(candidate.name, "champion", number)
        client.set_model_version_tag(candidate.name, number, "verdict", why)
        aliases = sorted(client.get_model_version(candidate.name, number).aliases)
        run = runs.of_model(candidate.folder)
        return {
            "name": candidate.name,
            "version": str(number),
            "aliases": aliases,
            "run_id": run["run_id"] if run else None,
            "figure": {"name": candidate.figure, "value": candidate.value},
            "why": why,
        }


def _verdict(client: Any, candidate: Candidate, number: str) -> tuple[str, bool]:
    """Whether the version becomes champion, and the sentence why."""
    from mlflow.exceptions import MlflowException

    shown = f"{candidate.figure} {candidate.value:.4g}"
    try:
        champion = client.get_model_version_by_alias(candidate.name, "champion")
    except MlflowException:
        return f"champion, the first: {shown}", True
    if str(champion.version) == str(number):
        return f"champion already: {shown}", False
    theirs = champion.tags.get(candidate.figure)
    if champion.tags.get("data_hash") != candidate.header["data"]["content_hash"]:
        return f"challenger: {shown} was measured on other data than champion version {champion.version}'s", False
    if theirs is None:
        return f"challenger: champion version {champion.version} has no {candidate.figure} to compare with", False
    better = candidate.value < float(theirs) if candidate.smaller_is_better else candidate.value > float(theirs)
    compared = f"{shown} against {float(theirs):.4g} of version {champion.version} on the same data"
    return (f"champion: {compared}", True) if better else (f"challenger, not better: {compared}", False)


def _version(client: Any, candidate: Candidate) -> str | None:
    found = client.search_model_versions(f"name = '{candidate.name}'")
    return next((str(v.version) for v in found if v.tags.get("stepladder.key") == candidate.key), None)


def _log(client: Any, candidate: Candidate) -> str:
    import mlflow

    signature, example = _signature(candidate)
    run = runs.of_model(candidate.folder)
    header = candidate.header
    if run is None:
        run = runs.open_run(header)
    mlflow.set_registry_uri(store.uri())
    with mlflow.start_run(run_id=run["run_id"]):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(HERE / f"pyfunc_{candidate.family}.py"),
            artifacts={"model": str(candidate.folder)},
            model_config=candidate.settings,
            signature=signature,
            input_example=example,
            code_paths=[str(Path(stepladder.__file__).parent)],
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
            registered_model_name=candidate.name,
            await_registration_for=30,
        )
    number = str(logged.registered_model_version)
    tags = candidate.tags | {
        candidate.figure: repr(candidate.value),
        "stepladder.key": candidate.key,
        "data": header["data"]["name"],
        "data_hash": header["data"]["content_hash"],
        "git_commit": header["git_commit"] or "",
        "run_id": run["run_id"],
    }
    for tag, value in tags.items():
        client.set_model_version_tag(candidate.name, number, tag, value)
    return number


def _signature(candidate: Candidate) -> tuple[Any, Any]:
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    settings = candidate.settings
    if candidate.family == "diffusion":
        config = json.loads((candidate.folder / "config.json").read_text(encoding="utf-8"))
        inputs: ColSpec = ColSpec("string", "label")
        outputs: ColSpec | TensorSpec = TensorSpec(np.dtype("uint8"), (-1, *config["model"]["shape"]))
        params = [
            ParamSpec("steps", "long", settings["steps"]),
            ParamSpec("guidance_scale", "double", float(settings["guidance_scale"])),
            ParamSpec("seed", "long", settings["seed"]),
        ]
        example = pd.DataFrame({"label": [str(name) for name in config["classes"][:3]] or ["", "", ""]})
    else:
        inputs, outputs = ColSpec("string", "source"), ColSpec("string", "translation")
        decoding = settings["decoding"]
        params = [
            ParamSpec("beam_size", "long", decoding["beam_size"]),
            ParamSpec("length_penalty", "double", float(decoding["length_penalty"])),
            ParamSpec("language", "string", ""),
        ]
        example = pd.DataFrame({"source": ["Ukraine", "Western Frisian"]})
    return ModelSignature(inputs=Schema([inputs]), outputs=Schema([outputs]), params=ParamSchema(params)), example


def _text(tags: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in tags.items()
        if value is not None
    }
