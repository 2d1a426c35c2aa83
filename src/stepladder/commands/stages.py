"""The stages of ``dvc.yaml``: prepare, train, evaluate, compare, register, report."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepladder import absent
from stepladder.commands import Verb
from stepladder.commands.adaptation import METHODS, adaptation, shape
from stepladder.commands.places import (
    ADAPTED,
    BASELINES,
    CLASSIFICATION,
    DATA,
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

OF_TEXT = ("transformer", "masked-lm")


def add(verb: Verb) -> None:
    verb("source", source, "note what a data set is made of, for DVC to watch").add_argument(
        "kind", choices=["images", "text"]
    )
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
        if name == "evaluate":
            added.add_argument("family", choices=families, nargs="?", help="of the model that its stage has trained")
            added.add_argument(
                "--model",
                help="instead: a folder, or models:/NAME/VERSION, models:/NAME@ALIAS, to be judged on the present data",
            )
        else:
            added.add_argument("family", choices=families)
        added.add_argument("--timesteps", type=int, metavar="T", help="timesteps T of the diffusion model")
        added.add_argument(
            "--start", choices=STARTS, default="pretrained", help="of the classifier: a masked model, or nothing"
        )
        if name == "train":
            added.add_argument(
                "--if-asked",
                action="store_true",
                help="a noisy classifier only where noisy_classifier.train asks for it",
            )
        if name == "evaluate":
            added.add_argument("--method", choices=METHODS, help="of the adapted model; default: adaptation.method")
            added.add_argument("--before", action="store_true", help="judge the model before it was adapted")
    verb("compare", compare, "bring all evaluations together")
    verb("register", register, "put the best models in the registry")
    verb("report", report, "write reports/index.html")


def source(args: argparse.Namespace) -> int:
    from stepladder.data.source import note_images, note_text
    from stepladder.params import load

    {"images": note_images, "text": note_text}[args.kind](load())
    return 0


def prepare(args: argparse.Namespace) -> int:
    from stepladder.data.source import pinned
    from stepladder.params import load
    from stepladder.params.data import NONE

    params = load()
    if args.kind != "own":
        params = params.model_copy(update={args.kind: pinned(args.kind, getattr(params, args.kind))})
        if getattr(params, args.kind).source == NONE:
            return _left_out(f"{args.kind}.source is {NONE}", DATA[args.kind])
    if args.kind == "images":
        from stepladder.data.preparing.images import prepare

        card = prepare(params, IMAGES)
    elif args.kind == "own":
        from stepladder.data.preparing.images import prepare_own

        params, base = adaptation(args)
        card = prepare_own(params, shape(base), OWN)
    else:
        from stepladder.data.preparing.text import prepare

        card = prepare(params, TEXT)
    counts = ", ".join(f"{count} {split}" for split, count in card["counts"].items())
    print(f"{card['name']}: {counts}; set aside: {card['set_aside']['count']}")
    return 0


def train(args: argparse.Namespace) -> int:
    from stepladder.launching.check import check
    from stepladder.launching.launch import train
    from stepladder.params import load
    from stepladder.stages import MASKED_LM, classifier
    from stepladder.training.families import FAMILIES

    params, family, out, timesteps = load(), args.family, MODELS / args.family, None
    if family == "diffusion":
        timesteps = _timesteps(args)
        out = diffusion(timesteps)
    elif family == "masked-lm":
        out = MASKED_LM
    elif family == "classifier":
        family, params, out = "transformer", classifier(params, args.start), CLASSIFICATION / args.start
    data = DATA[FAMILIES[family].data]
    if why := absent.why(data):
        return _left_out(why, out)
    if family == "noisy-classifier" and not params.noisy_classifier.train:
        if args.if_asked:
            return _left_out("noisy_classifier.train is false", out)
        print("noisy_classifier.train is false, so that the next `dvc repro` removes this classifier; true keeps it.")
    check(family, params, data, classifier=NOISY_CLASSIFIER)
    return train(family, params, data, out, timesteps=timesteps)


def evaluate(args: argparse.Namespace) -> int:
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
        return _left_out(
            why, REPORTS / (f"diffusion/T{_timesteps(args)}" if args.family == "diffusion" else "transformer")
        )
    health.check()
    of = f" T={_timesteps(args)}" if args.family == "diffusion" else ""
    with slots.occupy(f"evaluate {args.family}{of}"):
        return _evaluate(args, params)


def _evaluate(args: argparse.Namespace, params: Any) -> int:
    from stepladder import slots
    from stepladder.tracking import evaluations

    if args.family == "diffusion":
        from stepladder.evaluation.pictures.images import evaluate as evaluate_images

        timesteps = _timesteps(args)
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
            metrics = evaluate_text(params, TEXT, model, fresh)
        if args.family == "classifier":
            shown = (f"{name} {metrics[name]:.3f} ({metrics[f'{name}_low']:.3f} to {metrics[f'{name}_high']:.3f})"
                     for name in ("accuracy", "macro_f1"))  # fmt: skip
            print(f"classifier, {args.start}: {', '.join(shown)}")
    _track(lambda: evaluations.record(model, out))
    return 0


@contextmanager
def _replacing(model: Path, out: Path) -> Iterator[Path]:
    """A folder for what is found of ``model``, put in the place of ``out`` at the end; refused at once where it cannot be recorded."""
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
        found = figures.of_pictures(point, real, metrics["judged"])
        name = ", ".join(
            f"{key}={point[tag]}" for key, tag in (("T", "timesteps"), ("S", "sampling_steps")) if tag in point
        )
        _say(name or str(metrics["family"]), found.tags, failure.failed(_there(point), real, params.promotion))
    if not points and (text := figures.of_text(metrics)):
        _say(str(metrics["task"]), text.tags, failure.failed_text(metrics, params.promotion))
    elif not points:
        print(f"{metrics['task']}: loss {metrics['loss']:.4g}, accuracy {metrics['accuracy']:.4g}")
    print(f"{model}: {out}")
    return 0


def _say(name: str, tags: dict[str, str], failed: str) -> None:
    from stepladder.tracking import figures

    accuracy = (
        f", accuracy {float(tags['accuracy']):.3f}" if "accuracy" in tags and tags["figure"] != "accuracy" else ""
    )
    failure = f"; counts as failed ({failed})" if failed else ""
    print(f"{name}: {figures.shown(tags)}{accuracy}, of {tags['judged']}{failure}")


def _there(point: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if value is not None}


def compare(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.reporting import figures
    from stepladder.reporting.comparison import compare
    from stepladder.tracking import evaluations

    params = load()
    figures.draw(compare(params, MODELS, REPORTS), params, MODELS, REPORTS)
    _track(lambda: evaluations.record_comparison(MODELS, REPORTS))
    return 0


def register(args: argparse.Namespace) -> int:
    from stepladder.commands.present import Present
    from stepladder.params import load
    from stepladder.tracking import health, registry

    health.check()
    params = load()
    for model in (m for m in registry.register(params, MODELS, REPORTS, Present(params))["models"] if "version" in m):
        print(f"{model['name']} version {model['version']} @{', @'.join(model['aliases'])}: {model['why']}")
    return 0


def report(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.reporting.report import write

    print(f"report: {write(REPORTS, MODELS, load())}")
    return 0


def _left_out(why: str, folder: Path) -> int:
    absent.leave(folder, why)
    print(f"{folder}: nothing, since {why}")
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
