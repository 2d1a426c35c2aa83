"""Judges an older model on the data that is prepared now: checks that it fits, and runs the evaluation of its family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder.baselines.description import BaselineDescription, GANDescription, VAEDescription
from stepladder.data.card import LabelsCard, PairsCard, PicturesCard, card_of, read_card
from stepladder.description import KINDS, kind, read
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.errors import UserError
from stepladder.params import Decoding, Params, Sampling, section
from stepladder.text_tasks.tasks import TASKS, name_of
from stepladder.transformer.networks.description import (
    MaskedLMDescription,
    TextClassifierDescription,
    TranslationDescription,
    read_text,
)

Settings = Mapping[str, Any]
PICTURE_MODELS: tuple[Any, ...] = (DiffusionDescription, GANDescription, VAEDescription)


def family(model: Path) -> str:
    """``diffusion``, ``vae``, ``gan`` or ``transformer``: what the model in ``model`` is.

    Raises:
        UserError: it holds no model, or one that is not judged by itself.
    """
    name = kind(model)
    if name not in (*TASKS, *(record.kind for record in PICTURE_MODELS)):
        raise UserError(
            f"{model} holds a {KINDS[name].title} that is not judged by itself; name a model that draws or writes."
        )
    return "transformer" if name in TASKS else name


def evaluate(
    params: Params, model: Path, settings: Settings, data: Path, feature_net: Path, out: Path, classifier: Path | None
) -> Mapping[str, object]:
    """Judge the model in ``model`` on the held-out part of the prepared ``data``, and write it to ``out``.

    Args:
        settings: those that it is served with, and so judged with; empty: those of ``params``.

    Raises:
        UserError: there is no model, or it does not fit the data: other classes, another shape, other languages or another task.
    """
    name = family(model)
    if name != "transformer":
        _pictures_fit(model, data)
    else:
        _text_fits(model, data)
        from stepladder.evaluation.text import evaluate as evaluate_text

        decoding = section(Decoding, settings.get("decoding", {}), "decoding") if settings else params.decoding
        return evaluate_text(params.model_copy(update={"decoding": decoding}), data, model, out)
    if name != "diffusion":
        from stepladder.evaluation.baselines import evaluate as evaluate_baseline

        return evaluate_baseline(params, name, data, feature_net, model, out)
    from stepladder import slots
    from stepladder.evaluation.pictures.images import evaluate as evaluate_images

    sampling = section(Sampling, settings.get("sampling", {}), "sampling") if settings else params.sampling
    if "steps" in settings:
        sweep = params.sweep.model_copy(update={"sampling_steps": (int(settings["steps"]),)})
        params = params.model_copy(update={"sweep": sweep})
    timesteps = read(model, DiffusionDescription).timesteps
    return evaluate_images(
        params, timesteps, data, feature_net, model, out, [sampling], classifier=classifier, devices=slots.devices()
    )


def _pictures_fit(model: Path, data: Path) -> None:
    description: DiffusionDescription | BaselineDescription = read(model, *PICTURE_MODELS)
    card = card_of(data, PicturesCard)
    _check_same("pictures of the shape", description.model.shape, card["shape"], model, data)
    if description.classes:
        _check_same("the classes", description.classes, card["classes"], model, data)


def _text_fits(model: Path, data: Path) -> None:
    description = read_text(model)
    task = TASKS[description.task]
    if task.judging.fits and name_of(read_card(data)) in task.forms:
        task.judging.fits(description, model, data)


def classes_fit(description: TextClassifierDescription, model: Path, data: Path) -> None:
    """Raise ``UserError`` where the texts in ``data`` are of other classes than the ``model`` knows."""
    _check_same("the classes", description.classes, card_of(data, LabelsCard)["classes"], model, data)


def languages_fit(description: TranslationDescription, model: Path, data: Path) -> None:
    """Raise ``UserError`` where the ``model`` does not translate from and to the languages in ``data``."""
    languages = card_of(data, PairsCard)["languages"]
    _check_same("the source language", description.source_language, languages["source"], model, data)
    if lacking := set(languages["targets"]) - set(description.target_languages):
        raise UserError(f"{model} does not translate to {', '.join(sorted(lacking))}, which the pairs in {data} have.")


def vocabulary_fits(description: MaskedLMDescription, model: Path, data: Path) -> None:
    """Raise ``UserError`` where the text in ``data`` was prepared with another vocabulary than that of the ``model``."""
    if (data / "tokenizer.json").read_bytes() != (model / "tokenizer.json").read_bytes():
        raise UserError(f"{model} hides tokens of another vocabulary than {data} was prepared with.")


def _check_same(name: str, of_model: Any, of_data: Any, model: Path, data: Path) -> None:
    of_model = [*of_model] if isinstance(of_model, tuple) else of_model
    if of_model != of_data:
        raise UserError(
            f"{model} has {name} {_text_of(of_model)} and {data} has {_text_of(of_data)}: it cannot be judged on that."
        )


def _text_of(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
