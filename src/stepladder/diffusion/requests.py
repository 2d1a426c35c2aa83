"""From a request in names, texts and options to a model's condition and sampling options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from stepladder.data.texts import clean, encode, tokenizer_of
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import class_numbers
from stepladder.errors import UserError
from stepladder.params import Sampling, parse_overrides, section
from stepladder.params.sampling import OF_SAMPLER
from stepladder.plugins import is_custom

STEPS = 20  # where neither the request nor the model has a number


def expand(
    description: DiffusionDescription, labels: Sequence[str] | None, texts: Sequence[str] | None, count: int
) -> tuple[list[str], list[str]]:
    """Class and text of each picture, "" for none: ``count`` of each class in ``labels`` with each of ``texts``.

    Without ``labels`` there are ``count`` of each text, or in all, and classes take turns; without labels and
    texts, a model of texts gets neither.
    """
    classes = description.classes
    if labels:
        return _unzip([(label, text) for label in labels for text in texts or [""] for _ in range(count)])
    turns = [""] if not classes or (description.model.vocabulary and not texts) else [*classes]
    return _unzip([(turns[i % len(turns)], text) for text in texts or [""] for i in range(count)])


def condition(
    description: DiffusionDescription, tokenizer: Tokenizer | None, labels: Sequence[str], texts: Sequence[str]
) -> Condition:
    """The condition of one picture a row: its class in ``labels``, its text in ``texts``, "" for none.

    Args:
        tokenizer: that of the model, see ``tokenizer``.

    Raises:
        UserError: the model does not know a class, knows no text, or was never trained without what is missing.
    """
    class_count = len(description.classes)
    names = list(dict.fromkeys(label for label in labels if label))
    numbers = dict(zip(names, class_numbers(description.classes, names, 1).tolist(), strict=True)) if names else {}
    tensors: Condition = {"labels": torch.tensor([numbers.get(label, class_count) for label in labels])}
    if any(texts) and tokenizer is None:
        raise UserError("The model knows no text: it was trained without diffusion.text; ask for a class only.")
    textless = description.new_classes  # learned from pictures without texts
    pairs = [(label, text) for label, text in zip(labels, texts, strict=True) if label not in textless]
    if class_count and tokenizer is not None and any(bool(label) != bool(text) for label, text in pairs):
        raise UserError(
            "The model was trained on a class and a text together, or on neither; give both. Its classes are: "
            f"{', '.join(map(str, description['classes']))}."
        )
    incomplete = not all(text for _, text in pairs) if tokenizer is not None else bool(class_count) and not all(labels)
    if incomplete and not description.label_dropout > 0:
        what = "text" if tokenizer is not None else f"class; it knows: {', '.join(map(str, description['classes']))}"
        raise UserError(f"The model was always told what to draw (diffusion.label_dropout=0); name a {what}.")
    if tokenizer is not None:
        length = description.model.text_length
        tensors["text"] = torch.from_numpy(encode(tokenizer, [_cleaned(text) for text in texts], length))
    return tensors


def repeated_condition(
    description: DiffusionDescription, tokenizer: Tokenizer | None, label: str | None, text: str | None, count: int
) -> Condition:
    """The condition of ``count`` pictures of one class and text, ``None`` for none; ``UserError`` as ``condition``."""
    return condition(description, tokenizer, [label or ""] * count, [text or ""] * count)


def tokenizer(folder: Path, description: DiffusionDescription) -> Tokenizer | None:
    """The tokenizer of the model in ``folder``, ``None`` where it knows no text."""
    return tokenizer_of(folder) if description.model.vocabulary else None


def check_generates(description: DiffusionDescription) -> None:
    """Raise ``UserError`` where the model draws only from a low resolution."""
    if side := description.model.low_resolution:
        raise UserError(
            f"The model enlarges pictures of {side} pixels a side and draws none from noise alone; use `stepladder upscale`."
        )


def sampling(
    description: DiffusionDescription,
    usual: Mapping[str, object],
    options: Mapping[str, object],
    overrides: Sequence[str] = (),
) -> Sampling:
    """How to draw: the model's ``usual`` way, changed by ``overrides`` such as "sampling.eta=0.5", then by those ``options``
    that are not None. With another sampler than the usual one, options that only the usual one has are dropped.

    Raises:
        UserError: an override is of another section, or a value is not allowed.
    """  # fmt: skip
    sections = parse_overrides(list(overrides))
    overridden, foreign = sections.get("sampling", {}), set(sections) - {"sampling"}
    if foreign or not isinstance(overridden, dict):
        raise UserError(
            f"{min(foreign, default='sampling')} says nothing of how pictures are drawn; set sampling.KEY=VALUE only."
        )
    default = {"sampler": process_of(description).usual_sampler}
    requested = {**overridden, **{key: value for key, value in options.items() if value is not None}}
    sampler = str({**default, **usual, **requested}["sampler"])
    sampler_keys = SAMPLERS[sampler].own if sampler in SAMPLERS or is_custom(sampler) else ()
    kept = {key: value for key, value in usual.items() if key not in OF_SAMPLER or key in sampler_keys}
    return section(Sampling, {**default, **kept, **requested}, "sampling")


def steps(description: DiffusionDescription, usual: int | None, requested: int | None) -> int:
    """Sampling steps S: as ``requested``, else the model's ``usual`` number, else at most twenty."""
    return requested if requested is not None else usual or min(description.timesteps, STEPS)


def _cleaned(text: str) -> str:
    try:
        return clean(text) if text else ""
    except ValueError as error:
        raise UserError(f"The text {text!r} cannot be drawn: {error}.") from None


def _unzip(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [label for label, _ in pairs], [text for _, text in pairs]
