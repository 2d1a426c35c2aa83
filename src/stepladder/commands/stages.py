"""The stages of ``dvc.yaml``: prepare, train, evaluate, compare, register, report."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stepladder.commands import Verb
from stepladder.commands.adaptation import METHODS, adaptation, shape
from stepladder.commands.places import (
    ADAPTED,
    BASELINES,
    CLASSIFICATION,
    FEATURE_NET,
    IMAGES,
    MODELS,
    NOISY_CLASSIFIER,
    OWN,
    REPORTS,
    STARTS,
    TEXT,
    TRANSFORMER,
    diffusion,
)
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    added = verb("prepare", prepare, "make the prepared form of a data set")
    added.add_argument("kind", choices=["images", "text", "own"])
    for name, function, families in (
        (
            "train",
            train,
            ["feature-net", "noisy-classifier", "diffusion", "transformer", "masked-lm", "classifier", *BASELINES],
        ),
        ("evaluate", evaluate, ["diffusion", "adapted", *BASELINES, "transformer", "classifier"]),
    ):
        added = verb(name, function, f"{name} a model of the prepared data")
        added.add_argument("family", choices=families)
        added.add_argument("--timesteps", type=int, metavar="T", help="timesteps T of the diffusion model")
        added.add_argument(
            "--start", choices=STARTS, default="pretrained", help="of the classifier: a masked model, or nothing"
        )
        if name == "evaluate":
            added.add_argument("--method", choices=METHODS, help="of the adapted model; default: adaptation.method")
            added.add_argument("--before", action="store_true", help="judge the model before it was adapted")
    verb("compare", compare, "bring all evaluations together")
    verb("register", register, "put the best models in the registry")
    verb("report", report, "write reports/index.html")


def prepare(args: argparse.Namespace) -> int:
    from stepladder.params import load

    if args.kind == "images":
        from stepladder.data.images import prepare

        card = prepare(load(), IMAGES)
    elif args.kind == "own":
        from stepladder.data.images import prepare_own

        params, base = adaptation(args)
        card = prepare_own(params, shape(base), OWN)
    else:
        from stepladder.data.text import prepare

        card = prepare(load(), TEXT)
    counts = ", ".join(f"{count} {split}" for split, count in card["counts"].items())
    print(f"{card['name']}: {counts}; set aside: {card['set_aside']['count']}")
    return 0


def train(args: argparse.Namespace) -> int:
    from stepladder.params import build, load, merge
    from stepladder.training.launch import train

    params = load()
    if args.family == "diffusion":
        timesteps = _timesteps(args)
        return train("diffusion", params, IMAGES, diffusion(timesteps), timesteps=timesteps)
    if args.family in ("feature-net", "noisy-classifier"):
        return train(args.family, params, IMAGES, MODELS / args.family)
    if args.family in BASELINES:
        return train(args.family, params, IMAGES, MODELS / args.family)
    if args.family == "masked-lm":
        return train("masked-lm", params, TEXT, CLASSIFICATION / "masked-lm")
    if args.family == "classifier":
        base = str(CLASSIFICATION / "masked-lm") if args.start == "pretrained" else ""
        changed = build(merge(params.model_dump(mode="json"), {"transformer": {"base": base}}))
        return train("transformer", changed, TEXT, CLASSIFICATION / args.start)
    return train("transformer", params, TEXT, TRANSFORMER)


def evaluate(args: argparse.Namespace) -> int:
    from stepladder import slots
    from stepladder.params import load
    from stepladder.tracking import store

    params = load()
    store.check()
    of = f" T={_timesteps(args)}" if args.family == "diffusion" else ""
    with slots.occupy(f"evaluate {args.family}{of}"):
        return _evaluate(args, params)


def _evaluate(args: argparse.Namespace, params: Any) -> int:
    from stepladder import slots
    from stepladder.data.replacing import replacing
    from stepladder.tracking import evaluations

    if args.family == "diffusion":
        from stepladder.evaluation.images import evaluate as evaluate_images

        timesteps = _timesteps(args)
        model, out = diffusion(timesteps), REPORTS / "diffusion" / f"T{timesteps}"
        with replacing(out) as fresh:
            evaluate_images(
                params, timesteps, IMAGES, FEATURE_NET, model, fresh,
                classifier=NOISY_CLASSIFIER, devices=slots.devices(),
            )  # fmt: skip
    elif args.family == "adapted":
        from stepladder.evaluation.adaptation import evaluate as evaluate_adapted

        params, base = adaptation(args)
        model = base if args.before else ADAPTED / params.adaptation.method
        out = REPORTS / "adapted" / ("before" if args.before else params.adaptation.method)
        with replacing(out) as fresh:
            evaluate_adapted(params, IMAGES, OWN, FEATURE_NET, model, fresh)
        if args.before:
            return 0
    elif args.family in BASELINES:
        from stepladder.evaluation.baselines import evaluate as evaluate_baseline

        model, out = MODELS / args.family, REPORTS / args.family
        with replacing(out) as fresh:
            evaluate_baseline(params, args.family, IMAGES, FEATURE_NET, model, fresh)
    else:
        from stepladder.evaluation.text import evaluate as evaluate_text

        model, out = TRANSFORMER, REPORTS / "transformer"
        if args.family == "classifier":
            model, out = CLASSIFICATION / args.start, REPORTS / "classification" / args.start
        with replacing(out) as fresh:
            metrics = evaluate_text(params, TEXT, model, fresh)
        if args.family == "classifier":
            shown = (f"{name} {metrics[name]:.3f} ({metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
                     for name in ("accuracy", "macro_f1"))  # fmt: skip
            print(f"classifier, {args.start}: {', '.join(shown)}")
    _track(lambda: evaluations.record(model, out))
    return 0


def compare(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.reporting.comparison import compare
    from stepladder.tracking import evaluations

    compare(load(), MODELS, REPORTS)
    _track(lambda: evaluations.record_comparison(MODELS, REPORTS))
    return 0


def register(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.tracking import registry, store

    store.check()
    for model in registry.register(load(), MODELS, REPORTS)["models"]:
        print(f"{model['name']} version {model['version']} @{', @'.join(model['aliases'])}: {model['why']}")
    return 0


def report(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.reporting.report import write

    print(f"report: {write(REPORTS, MODELS, load())}")
    return 0


def _timesteps(args: argparse.Namespace) -> int:
    if args.timesteps is None or args.timesteps < 1:
        raise UserError(f"--timesteps {args.timesteps} given; a diffusion model has T = 1 or more timesteps.")
    return int(args.timesteps)


def _track(record: Callable[[], object]) -> None:
    """Figures are on disk already: a tracking store that fails now costs a line, not the stage."""
    from stepladder.tracking import store

    if store.uri():
        try:
            record()
        except UserError as error:
            print(f"tracking: {error}")
