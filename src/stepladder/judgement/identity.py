"""Which model, held-out data and judge figures belong to: written with every evaluation, and checked before figures are used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepladder import history, project
from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import Params

Figures = Mapping[str, Any]
WEIGHTS = "model.safetensors"
JUDGE = {"images": ("samples", "bootstrap", "confidence"), "text": ("bootstrap", "confidence", "rouge")}
MARK = 16  # characters of a hash that suffice


def key_of(model: Path) -> str | None:
    """The key of the training that made the model in ``model``; ``None`` where nothing there says it."""
    return history.key(model)


def judged(params: Params, model: Path, data: Path, judges: Sequence[Path] = ()) -> dict[str, str | None]:
    """What an evaluation records of the ``model`` that it judges, of the prepared ``data`` and of the judge.

    Returns:
        ``model``, the training's key; ``data``, the content's hash; ``held_out``, the hash of the held-out part; ``by``, a hash
        of the judge: the parameters that figures depend on and, for pictures, the weights of the feature network.

    Args:
        judges: files of those weights.
    """
    card = read_card(data)
    return {
        "model": key_of(model),
        "data": card.get("content_hash"),
        "held_out": card.get("held_out_hash"),
        "by": _judge_hash(params, str(card.get("kind")), judges),
    }


def judges(params: Params, feature_net: Path) -> list[Path]:
    """The files with the weights of the networks that judge pictures."""
    inception = params.evaluation.inception_weights
    return [feature_net / WEIGHTS, *([Path(inception)] if inception else [])]


def mark(judged: Figures) -> str:
    """Equal for figures that can be compared: hashes of the held-out content and the judge; "" where they are not recorded."""
    held_out, by = judged.get("held_out"), judged.get("by")
    return f"{held_out[:MARK]}-{by[:MARK]}" if held_out and by else ""


def check(metrics: Figures, report: Path, model: Path, data: Path, again: str) -> None:
    """Raise ``UserError`` where ``metrics`` are of another training, or other held-out data, than those in place.

    What is not in place, or was judged by a Stepladder that did not record it, is not checked.

    Args:
        report: where the figures are from; ``again``: the command that judges the model in place.
    """
    if why := stale(metrics, model, data):
        raise UserError(f"{report} holds figures of {why}; run `{again}`, or `dvc repro`.")


def check_comparison(comparison: Figures, models: Path, reports: Path) -> None:
    """Raise ``UserError`` where a comparison is of another training, or other held-out data, than those in place."""
    for name, judged in (comparison.get("judged") or {}).items():
        again = f"stepladder evaluate {name.replace('/T', ' --timesteps ')}` and `stepladder compare"
        check({"judged": judged}, reports / "comparison.json", models / name, data_of(models, name), again)


def data_of(models: Path, name: str) -> Path:
    """Where the prepared data of the model ``models/NAME`` is: next to ``models``."""
    return models.parent / "data" / ("images" if name.startswith("diffusion") else "text")


def stale(metrics: Figures, model: Path, data: Path) -> str:
    """In words, the other model or data that ``metrics`` are of; empty where they are of the model and the prepared data in place."""
    recorded = metrics.get("judged") or {}
    key = key_of(model)
    if recorded.get("model") and key and recorded["model"] != key:
        return f"another training (key {recorded['model']}) than the one in {model} (key {key})"
    try:
        held_out = read_card(data).get("held_out_hash")
    except UserError:
        return ""
    if recorded.get("held_out") and held_out and recorded["held_out"] != held_out:
        return f"other held-out data ({recorded['held_out'][:MARK]}) than that in {data} ({held_out[:MARK]})"
    return ""


def _judge_hash(params: Params, kind: str, judges: Sequence[Path]) -> str:
    settings = {name: getattr(params.evaluation, name) for name in JUDGE.get(kind, ())}
    content = [params.seed, settings, [project.file_hash(file) for file in judges]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
