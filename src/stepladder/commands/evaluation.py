"""Judge trained models on the held-out data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepladder import absent
from stepladder.commands import Verb
from stepladder.commands.adaptation import METHODS, adaptation
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
    TEXT,
    TRANSFORMER,
    diffusion,
)
from stepladder.commands.training import left_out, timesteps_of, which_model
from stepladder.errors import UserError

JUDGED = ("diffusion", "adapted", *BASELINES, "transformer", "classifier")


def add(verb: Verb) -> None:
    """Add the verb ``evaluate`` to the command line."""
    added = verb("evaluate", evaluate, "evaluate a model of the prepared data")
    added.add_argument("family", choices=JUDGED, nargs="?", help="of the model that its stage has trained")
    added.add_argument(
        "--model",
        help="instead: a folder, or models:/NAME/VERSION, models:/NAME@ALIAS, to be judged on the present data",
    )
    which_model(added)
    added.add_argument("--method", choices=METHODS, help="of the adapted model; default: adaptation.method")
    added.add_argument("--before", action="store_true", help="judge the model before it was adapted")


def evaluate(args: argparse.Namespace) -> int:
    """Judge a stage's trained model, or any model by its name, on the held-out data. Returns 0.

    The figures of a stage go into ``reports/`` and to the tracking store. Raises ``UserError`` where there is no such model, or no data
    to judge it by.
    """
    from stepladder import slots
    from stepladder.params import load
    from stepladder.tracking import health

    if bool(args.model) == bool(args.family):
        raise UserError(
            "`stepladder evaluate` judges a FAMILY, such as diffusion, or the model that --model names; give one of them."
        )
    params = load()
    if args.model:
        return _evaluate_model(args.model, params)
    data = TEXT if args.family in ("transformer", "classifier") else IMAGES
    if why := absent.why(data):
        if args.family not in ("diffusion", "transformer"):
            raise UserError(f"{args.family} cannot be judged: there is nothing in {data}, since {why}.")
        return left_out(
            why, REPORTS / (f"diffusion/T{timesteps_of(args)}" if args.family == "diffusion" else "transformer")
        )
    health.check()
    which = f" T={timesteps_of(args)}" if args.family == "diffusion" else ""
    with slots.occupy(f"evaluate {args.family}{which}"):
        return _evaluate(args, params)


def _evaluate(args: argparse.Namespace, params: Any) -> int:
    from stepladder import slots
    from stepladder.tracking import evaluations

    if args.family == "diffusion":
        from stepladder.evaluation.pictures.images import evaluate as evaluate_images

        timesteps = timesteps_of(args)
        model, out = diffusion(timesteps), REPORTS / "diffusion" / f"T{timesteps}"
        with _replacing(model, out) as fresh:
            evaluate_images(
                params, timesteps, IMAGES, FEATURE_NET, model, fresh,
                classifier=NOISY_CLASSIFIER, devices=slots.devices(),
            )  # fmt: skip
    elif args.family == "adapted":
        from stepladder.evaluation.adaptation import evaluate as evaluate_adapted

        params, base = adaptation(args)
        model = base if args.before else ADAPTED / params.adaptation.method
        out = REPORTS / "adapted" / ("before" if args.before else params.adaptation.method)
        with _replacing(model, out) as fresh:
            evaluate_adapted(params, IMAGES, OWN, FEATURE_NET, model, fresh)
        if args.before:
            return 0
    elif args.family in BASELINES:
        from stepladder.evaluation.baselines import evaluate as evaluate_baseline

        model, out = MODELS / args.family, REPORTS / args.family
        with _replacing(model, out) as fresh:
            evaluate_baseline(params, args.family, IMAGES, FEATURE_NET, model, fresh)
    else:
        from stepladder.evaluation.text import evaluate as evaluate_text

        model, out = TRANSFORMER, REPORTS / "transformer"
        if args.family == "classifier":
            model, out = CLASSIFICATION / args.start, REPORTS / "classification" / args.start
        with _replacing(model, out) as fresh:
            metrics: Mapping[str, object] = evaluate_text(params, TEXT, model, fresh)
        if args.family == "classifier":
            texts = (f"{name} {metrics[name]:.3f} ({metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
                     for name in ("accuracy", "macro_f1"))  # fmt: skip
            print(f"classifier, {args.start}: {', '.join(texts)}")
    track(lambda: evaluations.record(model, out))
    return 0


@contextmanager
def _replacing(model: Path, out: Path) -> Iterator[Path]:
    """A new folder for the evaluation of ``model``, which replaces ``out`` at the end; ``Refused`` if its run is not writable."""
    from stepladder.replacing import replacing
    from stepladder.tracking import runs

    runs.check_writable(model)
    with replacing(out) as fresh:
        yield fresh


def _evaluate_model(model: str, params: Any) -> int:
    from stepladder.commands.present import Present
    from stepladder.judgement import failure
    from stepladder.tracking import figures

    metrics, out = Present(params).evaluate(model)
    points = metrics.get("points") or ([metrics["point"]] if "point" in metrics else [])
    real = metrics.get("floor") or {}
    for point in points:
        judged = figures.of_pictures(point, real, metrics["judged"])
        name = ", ".join(
            f"{key}={point[tag]}" for key, tag in (("T", "timesteps"), ("S", "sampling_steps")) if tag in point
        )
        _print(name or str(metrics["family"]), judged.tags, failure.failed(_known(point), real, params.promotion))
    if not points and (text := figures.of_text(metrics)):
        _print(str(metrics["task"]), text.tags, failure.failed_text(metrics, params.promotion))
    elif not points:
        print(f"{metrics['task']}: loss {metrics['loss']:.4g}, accuracy {metrics['accuracy']:.4g}")
    print(f"{model}: {out}")
    return 0


def _print(name: str, tags: dict[str, str], failed: str) -> None:
    from stepladder.tracking import figures

    accuracy = (
        f", accuracy {float(tags['accuracy']):.3f}" if "accuracy" in tags and tags["figure"] != "accuracy" else ""
    )
    failure = f"; counts as failed ({failed})" if failed else ""
    print(f"{name}: {figures.text(tags)}{accuracy}, of {tags['judged']}{failure}")


def _known(point: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in point.items() if value is not None}


def track(record: Callable[[], object]) -> None:
    """Call ``record`` where there is a tracking store. Figures are on disk already, so a failing store costs only a line."""
    from stepladder.tracking import store

    if store.uri():
        try:
            record()
        except UserError as error:
            print(f"tracking: {error}")
