"""Checks parameters against the prepared data before anything is trained: for trainings, plans, sweeps and studies alike.

Errors in the parameters alone are raised where they are read; here are the checks that also need the data's card.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from stepladder import project
from stepladder.data.card import read_card
from stepladder.params import Params, fitting
from stepladder.params.backbones import BACKBONE
from stepladder.params.classifier import PROCESS
from stepladder.plugins import is_custom
from stepladder.training.families import FAMILIES


def check(family: str, params: Params, data: Path, *, classifier: Path | None = None, devices: int = 1) -> None:
    """Raise ``UserError`` where ``family`` cannot be trained with ``params`` on the prepared ``data``.

    Args:
        classifier: folder of the noisy classifier, for a model that is used afterwards as ``params.sampling`` and
            ``params.decoding`` say; None: the model is only trained.
        devices: number of devices that share a batch.
    """
    card = read_card(data)
    fitting.trainable(family, params, card, devices)
    if classifier is not None:
        fitting.usable(family, params, card, classifier)
    parts, stage = FAMILIES[family].unfreeze(params), FAMILIES[family].stage
    if parts or (
        stage.is_read(BACKBONE.key) and is_custom(params.diffusion.backbone)
    ):  # which is tried when it is built
        from stepladder.training.unfreezing import check_parts

        check_parts(import_module(FAMILIES[family].module).network(params, card), parts)


def of_project(params: Params, data: dict[str, Path], classifier: Path) -> None:
    """``check`` of the main job's models on the ``data`` (by kind, images and text) that was prepared with these ``params``.

    Raises:
        UserError: as ``check``; or there is no noisy classifier for ``sampling.classifier_scale``, whatever is prepared.
    """
    for kind, family in (("images", "diffusion"), ("text", "transformer")):
        if (data[kind] / "card.json").exists() and _prepared_with(params, kind):
            check(family, params, data[kind], classifier=classifier)
    if params.sampling.classifier_scale:
        fitting.read_guide(classifier, {key: getattr(params.diffusion, key) for key in PROCESS})


def _prepared_with(params: Params, kind: str) -> bool:
    """Whether the data was prepared with these parameters, by DVC's lock; other data cannot be checked against them."""
    try:
        locked: Any = yaml.safe_load((project.root() / "dvc.lock").read_text(encoding="utf-8"))
        locked_params = locked["stages"][f"prepare@{kind}"]["params"]["params.yaml"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return False
    now = params.model_dump(mode="json", include={"seed", kind})
    return all(locked_params.get(key) == now[key] for key in now)
