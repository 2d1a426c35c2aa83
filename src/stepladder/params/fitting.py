"""Checks parameters against the card of prepared data, for what training, sampling or decoding would refuse later.

All checks of a family are here. ``launching.check`` calls both, before anything runs; a training calls ``trainable``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stepladder.description import read
from stepladder.diffusion.processes.settings import NoisyClassifierDescription
from stepladder.errors import UserError
from stepladder.params import pictures, texts
from stepladder.params.classifier import PROCESS
from stepladder.params.section import Training
from stepladder.params.sides import Sides, halved
from stepladder.params.tree import Params
from stepladder.text_tasks.tasks import FORMS, MASKED, TASKS, architectures, name_of

Card = Mapping[str, Any]
Fit = Callable[[Params, Card, int], None]


def trainable(family: str, params: Params, card: Card, devices: int = 1) -> None:
    """Raise ``UserError`` where ``family`` cannot be trained with ``params`` on the data of ``card``, on ``devices`` devices."""
    if family in FITS:
        _sentence(lambda: FITS[family](params, card, devices))


def usable(family: str, params: Params, card: Card, classifier: Path) -> None:
    """Raise ``UserError`` where the trained model cannot be used as ``params.sampling`` and ``params.decoding`` say.

    Args:
        classifier: folder of the noisy classifier, needed where ``sampling.classifier_scale`` is above 0.
    """
    if family == "diffusion":
        _can_be_sampled(params, card, classifier)
    if family == "adapted" and params.sampling.classifier_scale:
        raise UserError(
            f"sampling.classifier_scale={params.sampling.classifier_scale:g} with an adapted model, whose pictures no noisy "
            "classifier has seen; set it to 0."
        )
    if family == "transformer":
        longest = card.get("max_length", params.text.max_length)
        if TASKS[name_of(card)].model.translates:
            _sentence(lambda: texts.positions(params.transformer, params.decoding, longest))


def _can_be_sampled(params: Params, card: Card, classifier: Path) -> None:
    d, sampling = params.diffusion, params.sampling
    if sampling.guidance_scale != 1 and not d.text and not card["classes"]:
        raise UserError(
            f"sampling.guidance_scale={sampling.guidance_scale:g} for the pictures of {card['name']}, which have no classes: there "
            "is nothing to guide to; set it to 1."
        )
    if sampling.classifier_scale and params.noisy_classifier.train:
        _sentence(lambda: _noisy_classifier(params, card, 1))
    elif sampling.classifier_scale:
        model = {"classes": card["classes"] if d.conditional else [], "shape": card["shape"]}
        read_guide(classifier, model | {key: getattr(d, key) for key in PROCESS})


def read_guide(folder: Path, model: Mapping[str, Any]) -> NoisyClassifierDescription:
    """The description of the noisy classifier in ``folder``.

    Args:
        model: ``classes``, ``shape`` and the keys of ``PROCESS`` of the model that it guides, where they are known.
            A model without classes is guided to those of the classifier.

    Raises:
        UserError: there is none, or it was trained for other pictures, classes or noise.
    """
    train = (
        "set noisy_classifier.train to true (`dvc repro` then trains one), or run `stepladder train noisy-classifier`"
    )
    remedy = f"{train}; or set sampling.classifier_scale to 0"
    guide = read(folder, NoisyClassifierDescription, remedy=remedy)
    trained = {"classes": guide.classes, "shape": guide.model.shape} | {key: getattr(guide, key) for key in PROCESS}
    for key, wanted in model.items():
        ours, theirs = _as_list(trained[key]), _as_list(wanted)
        if ours != theirs and not (key == "classes" and not theirs):
            raise UserError(
                f"The noisy classifier in {folder} was trained with {key} {ours} and the model has {theirs}; for one of the "
                f"model's, {train}."
            )
    return guide


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _sentence(fits: Callable[[], None]) -> None:
    try:
        fits()
    except ValueError as error:
        raise UserError(f"{error}.") from None


def _sides(card: Card) -> tuple[Sides, str]:
    _, height, width = card["shape"]
    return (height, width), f"{height}x{width}"


def _diffusion(params: Params, card: Card, devices: int) -> None:
    pictures.batch("diffusion.training", params.diffusion.training, devices)
    pictures.network(params.diffusion, *_sides(card))
    pictures.smaller(params.diffusion, *_sides(card))
    if params.diffusion.text and not card.get("text"):
        raise ValueError("diffusion.text needs pictures prepared with texts; name their column in images.text_column")
    _batch_is_filled("diffusion.training", params.diffusion.training, card)


def _batch_is_filled(key: str, training: Training, card: Card) -> None:
    """Check that the pictures fill a batch, where their card counts them."""
    if "counts" in card:
        pictures.filled(key, training, card["counts"]["train"])


def _feature_net(params: Params, card: Card, devices: int) -> None:
    _batch_is_filled("feature_net", params.feature_net.training, card)


def _noisy_classifier(params: Params, card: Card, devices: int) -> None:
    section = params.noisy_classifier
    if not card["classes"]:
        raise ValueError(f"The pictures of {card['name']} have no classes for a noisy classifier to tell apart")
    pictures.batch("noisy_classifier.training", section.training, devices)
    sides, named = _sides(card)
    times = len(section.channel_mult) - 1
    halved(sides, times, "noisy_classifier.channel_mult", section.channel_mult, named)


def _adapted(params: Params, card: Card, devices: int) -> None:
    pictures.batch("adaptation.training", params.adaptation.training, devices)


def _baseline(family: str) -> Fit:
    def fits(params: Params, card: Card, devices: int) -> None:
        section = getattr(params, family)
        pictures.batch(f"{family}.training", section.training, devices)
        sides, named = _sides(card)
        halved(sides, len(section.channel_mult), f"{family}.channel_mult", section.channel_mult, named)

    return fits


def _transformer(params: Params, card: Card, devices: int) -> None:
    architecture = params.transformer.architecture
    prepared_for(card, tuple(form for form in FORMS if architecture in architectures(form)))
    FORMS[name_of(card)].fits("transformer.training", params, params.transformer.training, card, devices)


def _masked_lm(params: Params, card: Card, devices: int) -> None:
    if params.transformer.architecture != MASKED.model.architecture:
        raise ValueError(
            f"transformer.architecture={params.transformer.architecture} with a masked model, which is an encoder; set it to "
            "encoder"
        )
    prepared_for(card, MASKED.forms)
    FORMS[name_of(card)].fits("classification.pretraining", params, params.classification.pretraining, card, devices)


def prepared_for(card: Card, tasks: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless the text was prepared for one of ``tasks``."""
    task = name_of(card)
    if task not in tasks:
        raise ValueError(
            f"The text was prepared with text.task={task} and this model needs {' or '.join(tasks)}; set text.task and run "
            "`stepladder prepare text`, or `dvc repro`"
        )


FITS: dict[str, Fit] = {
    "diffusion": _diffusion,
    "feature-net": _feature_net,
    "noisy-classifier": _noisy_classifier,
    "adapted": _adapted,
    "vae": _baseline("vae"),
    "gan": _baseline("gan"),
    "transformer": _transformer,
    "masked-lm": _masked_lm,
}
