"""Adapt a trained diffusion model to pictures of your own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stepladder.commands import Verb
from stepladder.commands.places import ADAPTED, OWN
from stepladder.values import Values

METHODS = ("lora", "full")


def add(verb: Verb) -> None:
    """Add the verb ``adapt`` to the command line."""
    added = verb("adapt", adapt, "adapt a trained diffusion model to a folder of your own pictures")
    added.add_argument("--model", help="folder of a model, or models:/NAME@ALIAS; default: adaptation.model")
    added.add_argument(
        "--pictures", help="folder of pictures, prepared anew; default: what is prepared, or adaptation.pictures"
    )
    added.add_argument("--method", choices=METHODS, help="default: adaptation.method")
    added.add_argument("--out", type=Path, help="folder of the adapted model; default: models/adapted/METHOD")


def adapt(args: argparse.Namespace) -> int:
    """Adapt a trained diffusion model to the pictures in ``data/own``; returns the exit code of the training.

    They are prepared first where ``--pictures`` names some or none are yet. Raises ``UserError`` where the model cannot be loaded,
    or as ``prepare_own`` and ``launching.launch.train``.
    """
    from stepladder.data.preparing.images import prepare_own
    from stepladder.launching.launch import train

    params, base = adaptation(args)
    if args.pictures or not (OWN / "card.json").exists():
        prepare_own(params, shape(base), OWN)
    return train("adapted", params, OWN, args.out or ADAPTED / params.adaptation.method)


def adaptation(args: argparse.Namespace) -> tuple[Any, Path]:
    """The parameters with the command line's options of the adaptation, and the folder of the model that is adapted."""
    from stepladder.params import build, load, merge
    from stepladder.tracking.fetch import fetch

    spec = load().model_dump(mode="json")
    options = {key: getattr(args, key, None) for key in ("model", "method", "pictures")}
    changed: Values = {"adaptation": {key: str(value) for key, value in options.items() if value}}
    base, _ = fetch(str(options["model"] or spec["adaptation"]["model"]))
    return build(merge(merge(spec, changed), {"adaptation": {"model": str(base)}})), base


def shape(folder: Path) -> tuple[int, int, int]:
    """The shape (C, H, W) of the pictures that the model in ``folder`` draws."""
    from stepladder.diffusion.sampling.drawing import load

    return load(folder)[1].model.shape
