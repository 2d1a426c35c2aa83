"""Prepare data and train on it: the first stages of ``dvc.yaml``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stepladder import absent
from stepladder.commands import Verb
from stepladder.commands.adaptation import adaptation, shape
from stepladder.commands.places import (
    BASELINES,
    CLASSIFICATION,
    DATA,
    IMAGES,
    MODELS,
    NOISY_CLASSIFIER,
    OWN,
    STARTS,
    TEXT,
    diffusion,
)
from stepladder.errors import UserError

if TYPE_CHECKING:
    from stepladder.data.card import Card

TRAINED = ("feature-net", "noisy-classifier", "diffusion", "transformer", "masked-lm", "classifier", *BASELINES)


def add(verb: Verb) -> None:
    """Add the verbs of data and training to the command line: ``source``, ``prepare`` and ``train``."""
    verb("source", source, "note what a data set, or one's own code, is made of, for DVC to watch").add_argument(
        "kind", choices=["images", "text", "code"]
    )
    added = verb("prepare", prepare, "make the prepared form of a data set")
    added.add_argument("kind", choices=["images", "text", "own"])
    added = verb("train", train, "train a model of the prepared data")
    added.add_argument("family", choices=TRAINED)
    which_model(added)
    added.add_argument(
        "--if-asked",
        action="store_true",
        help="a noisy classifier only where noisy_classifier.train asks for it",
    )


def which_model(added: argparse.ArgumentParser) -> None:
    """Add the options that say which model of its family a stage is about."""
    added.add_argument("--timesteps", type=int, metavar="T", help="timesteps T of the diffusion model")
    added.add_argument(
        "--start", choices=STARTS, default="pretrained", help="of the classifier: a masked model, or nothing"
    )


def source(args: argparse.Namespace) -> int:
    """Link ``data/sources`` to the source of the pictures or the text, or to custom code. Returns 0.

    Raises ``UserError`` where the source does not exist, or DVC cannot watch it.
    """
    from stepladder.data.source import note_code, note_images, note_text
    from stepladder.params import load

    {"images": note_images, "text": note_text, "code": note_code}[args.kind](load())
    return 0


def prepare(args: argparse.Namespace) -> int:
    """Prepare the pictures, the text or one's own pictures, and print the number of rows of each split. Returns 0.

    Where the parameters leave that kind out, a file in its folder says so. Raises ``UserError`` where the data cannot be prepared.
    """
    from stepladder.data.source import pinned
    from stepladder.params import load
    from stepladder.params.data import NONE

    params = load()
    if args.kind != "own":
        params = params.model_copy(update={args.kind: pinned(args.kind, getattr(params, args.kind))})
        if getattr(params, args.kind).source == NONE:
            return left_out(f"{args.kind}.source is {NONE}", DATA[args.kind])
    card: Card
    if args.kind == "images":
        from stepladder.data.preparing.images import prepare

        card = prepare(params, IMAGES)
    elif args.kind == "own":
        from stepladder.data.preparing.images import prepare_own

        params, base = adaptation(args)
        card = prepare_own(params, shape(base), OWN)
    else:
        from stepladder.data.preparing.text import prepare as prepare_text

        card = prepare_text(params, TEXT)
    counts = ", ".join(f"{count} {split}" for split, count in card["counts"].items())
    print(f"{card['name']}: {counts}; set aside: {card['set_aside']['count']}")
    return 0


def train(args: argparse.Namespace) -> int:
    """Train a family of models on the prepared data; returns the exit code of the training.

    Where the parameters leave out its data or a noisy classifier, nothing is trained and a file in the folder says so. Raises ``UserError``
    where the data refuses the parameters, or as ``launching.launch.train``.
    """
    from stepladder.launching.check import check
    from stepladder.launching.launch import train
    from stepladder.params import load
    from stepladder.stages import MASKED_LM, classifier
    from stepladder.training.families import FAMILIES

    params, family, out, timesteps = load(), args.family, MODELS / args.family, None
    if family == "diffusion":
        timesteps = timesteps_of(args)
        out = diffusion(timesteps)
    elif family == "masked-lm":
        out = MASKED_LM
    elif family == "classifier":
        family, params, out = "transformer", classifier(params, args.start), CLASSIFICATION / args.start
    data = DATA[FAMILIES[family].data]
    if why := absent.why(data):
        return left_out(why, out)
    if family == "noisy-classifier" and not params.noisy_classifier.train:
        if args.if_asked:
            return left_out("noisy_classifier.train is false", out)
        print("noisy_classifier.train is false, so that the next `dvc repro` removes this classifier; true keeps it.")
    check(family, params, data, classifier=NOISY_CLASSIFIER)
    return train(family, params, data, out, timesteps=timesteps)


def left_out(why: str, folder: Path) -> int:
    """Write into ``folder`` ``why`` the parameters leave out its content, and print that. Returns 0."""
    absent.leave(folder, why)
    print(f"{folder}: nothing, since {why}")
    return 0


def timesteps_of(args: argparse.Namespace) -> int:
    """``--timesteps``; raises ``UserError`` where it is not given, or below 1."""
    if args.timesteps is None or args.timesteps < 1:
        raise UserError(f"--timesteps {args.timesteps} given; a diffusion model has T = 1 or more timesteps.")
    return int(args.timesteps)
