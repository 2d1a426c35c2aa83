"""A model of other days, judged on the present prepared data: whether it fits, and the evaluation of its family."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import Decoding, Params, Sampling, section

Settings = Mapping[str, Any]


def family(model: Path) -> str:
    """``diffusion``, ``vae``, ``gan`` or ``transformer``: what the model in ``model`` is.

    Raises:
        UserError: it holds no model, or none that is judged by itself.
    """
    try:
        config = dict(json.loads((model / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise UserError(f"{model} holds no trained model: it has no config.json that can be read.") from None
    named = str(config.get("family", ""))
    if named in ("vae", "gan"):
        return named
    if named or not isinstance(config.get("model"), dict):
        raise UserError(
            f"{model} holds a {named or 'network'} that is not judged by itself; name a model that draws or writes."
        )
    return "diffusion" if "timesteps" in config else "transformer"


def evaluate(
    params: Params, model: Path, settings: Settings, data: Path, feature_net: Path, out: Path, classifier: Path | None
) -> dict[str, Any]:
    """Judge the model in ``model`` on the held-out part of the prepared ``data``, and write it to ``out``.

    Args:
        settings: how it is served, which is how it is judged; empty: as ``params`` say.

    Raises:
        UserError: there is no model, or it does not fit the data: other classes, another shape, other languages or another task.
    """
    kind = family(model)
    _fits(model, kind, data)
    if kind == "transformer":
        from stepladder.evaluation.text import evaluate as evaluate_text

        decoding = section(Decoding, settings.get("decoding", {}), "decoding") if settings else params.decoding
        return evaluate_text(params.model_copy(update={"decoding": decoding}), data, model, out)
    if kind != "diffusion":
        from stepladder.evaluation.baselines import evaluate as evaluate_baseline

        return evaluate_baseline(params, kind, data, feature_net, model, out)
    from stepladder import slots
    from stepladder.evaluation.pictures.images import evaluate as evaluate_images

    sampling = section(Sampling, settings.get("sampling", {}), "sampling") if settings else params.sampling
    if "steps" in settings:
        swept = params.sweep.model_copy(update={"sampling_steps": (int(settings["steps"]),)})
        params = params.model_copy(update={"sweep": swept})
    timesteps = _config(model)["timesteps"]
    return evaluate_images(
        params, timesteps, data, feature_net, model, out, [sampling], classifier=classifier, devices=slots.devices()
    )


def _fits(model: Path, kind: str, data: Path) -> None:
    config, card = _config(model), read_card(data)
    described = config["model"]
    if kind != "transformer":
        _same("pictures of the shape", list(described.get("shape", [])), card["shape"], model, data)
        if config.get("classes"):
            _same("the classes", [str(name) for name in config["classes"]], card["classes"], model, data)
        return
    task = config.get("task", "pairs")
    if task == "labels" == card.get("task"):
        _same("the classes", [str(name) for name in config["classes"]], card["classes"], model, data)
    if task == "pairs" == card.get("task", "pairs"):
        languages = card["languages"]
        _same("the source language", config.get("source_language"), languages["source"], model, data)
        lacking = set(languages["targets"]) - set(config["target_languages"])
        if lacking:
            raise UserError(
                f"{model} does not translate to {', '.join(sorted(lacking))}, which the pairs in {data} have."
            )
    if task == "masked_lm" and (data / "tokenizer.json").read_bytes() != (model / "tokenizer.json").read_bytes():
        raise UserError(f"{model} hides tokens of another vocabulary than {data} was prepared with.")


def _same(what: str, own: Any, prepared: Any, model: Path, data: Path) -> None:
    if own != prepared:
        raise UserError(
            f"{model} has {what} {_shown(own)} and {data} has {_shown(prepared)}: it cannot be judged on that."
        )


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _config(model: Path) -> dict[str, Any]:
    return dict(json.loads((model / "config.json").read_text(encoding="utf-8")))
