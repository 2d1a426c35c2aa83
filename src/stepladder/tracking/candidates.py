"""The models that the comparison says are to be registered: the recommended diffusion model and the language model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from stepladder import history, plugins, project
from stepladder.data.texts import tokenizer_of, words
from stepladder.description import read as read_description
from stepladder.diffusion.networks.description import DiffusionDescription, guided
from stepladder.diffusion.processes.settings import BUNDLED_CLASSIFIER
from stepladder.diffusion.samplers.samplers import SAMPLER
from stepladder.errors import UserError
from stepladder.journal.record import Header
from stepladder.params import Params, fitting
from stepladder.text_tasks import tasks
from stepladder.text_tasks.record import Settings
from stepladder.tracking import figures, references
from stepladder.tracking.figures import Figures
from stepladder.transformer.networks.description import read_text

KEY, SETTINGS = "stepladder.key", "stepladder.settings"


@dataclass(frozen=True)
class Candidate:
    """A model to be registered, and the figures it is judged by.

    Attributes:
        settings: the served model's defaults.
        example: input rows that it can answer: classes and texts, or sentences.
        needed_models: folders of other models that it needs, see ``loadable.log``.
    """

    family: str
    folder: Path
    figures: Figures
    settings: Settings
    example: list[dict[str, str]]
    needed_models: dict[str, Path] = field(default_factory=dict)

    @cached_property
    def header(self) -> Header:
        """The header of its training's journal."""
        return history.header(self.folder)

    @property
    def name(self) -> str:
        """``diffusion-digits``: the family and the data, in lower case."""
        return references.registered_name(self.family, self.header["data"]["name"])

    @property
    def identity(self) -> dict[str, str]:
        """Tags that identify a version: the same training, served with the same settings."""
        custom = plugins.named(
            {SAMPLER.key: self.settings.get("sampling", {}).get("sampler")}
        )  # the key covers the network's own code
        served = json.dumps(self.settings, sort_keys=True) + "".join(plugins.code_hash(custom))
        settings = hashlib.sha256(served.encode()).hexdigest()[:16]
        return {KEY: self.header["key"], SETTINGS: settings}

    @property
    def description(self) -> str:
        """What the registry's page says of the model."""
        return (
            f"`@champion` is the best by {self.figures.name}, `@challenger` the latest. To use it: `mlflow.pyfunc.load_model("
            f'"models:/{self.name}@champion").predict([{json.dumps(self.example[0], ensure_ascii=False)}])`'
        )

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its version: where it comes from, and its figures."""
        header = self.header
        origin = {
            "data": header["data"]["name"],
            "data_hash": header["data"]["content_hash"],
            "git_commit": header["git_commit"],
            "git_dirty": str(header["git_dirty"]).lower(),
            "dvc_lock": header["dvc_lock"],
            "study": header.get("study") or None,
            "flow_run": header.get("flow_run") or None,
        }
        return self.figures.tags | {name: str(value) for name, value in origin.items() if value is not None}


def read(reports: Path) -> Mapping[str, Any]:
    """The comparison; raises ``UserError`` where there is none."""
    try:
        return dict(json.loads((reports / "comparison.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{reports}/comparison.json does not exist; `stepladder compare`, or `dvc repro`, makes it."
        ) from None


def of(comparison: Mapping[str, Any], params: Params, models: Path, reports: Path) -> list[Candidate]:
    """The models that ``comparison`` says are to be registered.

    A model that enlarges pictures is left out, since the columns of a served model hold only names and texts.
    """
    judged = comparison.get("judged") or {}
    wanted = []
    point = comparison.get("recommended")
    if point and not _enlarges(folder := models / "diffusion" / f"T{point['timesteps']}"):
        identity = judged.get(f"diffusion/T{point['timesteps']}") or {}
        settings: Settings = {
            "steps": point["sampling_steps"],
            "guidance_scale": params.sampling.guidance_scale,
            "seed": 0,
            "sampling": params.sampling.model_dump(mode="json"),
            **(guide_settings := _guide_settings(params, models / BUNDLED_CLASSIFIER, folder)),
        }
        measured = figures.of_pictures(point, comparison.get("floor") or {}, identity)
        needed_models = {BUNDLED_CLASSIFIER: models / BUNDLED_CLASSIFIER} if guide_settings else {}
        wanted.append(Candidate("diffusion", folder, measured, settings, _example_rows(folder), needed_models))
    _, scores = tasks.compared(comparison)
    if scores and (text_figures := figures.of_text(scores)):
        wanted.append(_language_model(params, models / "transformer", reports, text_figures, tasks.name_of(scores)))
    return wanted


def _guide_settings(params: Params, classifier: Path, folder: Path) -> Settings:
    """The settings that name the noisy classifier that guides the model in ``folder``; empty where none does.

    Raises:
        UserError: ``sampling.classifier_scale`` asks for one, and there is none of the model's kind.
    """
    if not params.sampling.classifier_scale:
        return {}
    fitting.read_guide(classifier, guided(read_description(folder, DiffusionDescription)))
    return {"classifier": project.file_hash(classifier / "model.safetensors")}


def _language_model(params: Params, folder: Path, reports: Path, measured: Figures, task: str) -> Candidate:
    served = tasks.served(task)
    settings = served.settings(params.decoding.model_dump(), read_text(folder))
    with (reports / "transformer" / served.examples).open(encoding="utf-8") as lines:
        example = [{served.column: json.loads(line)[served.column]} for line in islice(lines, 2)]
    return Candidate("transformer", folder, measured, settings, example)


def _enlarges(folder: Path) -> bool:
    """Whether the model enlarges pictures; its input is a picture, not names and texts, so it is not registered."""
    return bool(read_description(folder, DiffusionDescription).model.low_resolution)


def _example_rows(folder: Path) -> list[dict[str, str]]:
    """Three rows that the diffusion model in ``folder`` can answer: its first classes, words of its vocabulary."""
    description = read_description(folder, DiffusionDescription)
    classes = [*description.classes[:3]] or [""] * 3
    if not description.model.vocabulary:
        return [{"label": name} for name in classes]
    columns = {"label": classes} if description.classes else {}
    columns["text"] = words(tokenizer_of(folder), len(classes))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
