"""``stepladder ...``: one verb a function, thin, importing what it needs when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepladder.errors import UserError

IMAGES, TEXT, OWN = Path("data/images"), Path("data/text"), Path("data/own")
MODELS, REPORTS = Path("models"), Path("reports")
FEATURE_NET, TRANSFORMER = MODELS / "feature-net", MODELS / "transformer"
NOISY_CLASSIFIER, ADAPTED = MODELS / "noisy-classifier", MODELS / "adapted"
BASELINES = ("vae", "gan")
METHODS = ("lora", "full")
SAMPLER = "default: the model's; `stepladder params` lists them"


def prepare(args: argparse.Namespace) -> int:
    from stepladder.params import load

    if args.kind == "images":
        from stepladder.data.images import prepare

        card = prepare(load(), IMAGES)
    elif args.kind == "own":
        from stepladder.data.images import prepare_own

        params, base = _adaptation(args)
        card = prepare_own(params, _config(base)["model"]["shape"], OWN)
    else:
        from stepladder.data.text import prepare

        card = prepare(load(), TEXT)
    counts = ", ".join(f"{count} {split}" for split, count in card["counts"].items())
    print(f"{card['name']}: {counts}; set aside: {card['set_aside']['count']}")
    return 0


def train(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.training.launch import train

    params = load()
    if args.family == "diffusion":
        timesteps = _timesteps(args)
        return train("diffusion", params, IMAGES, _diffusion(timesteps), timesteps=timesteps)
    if args.family in ("feature-net", "noisy-classifier"):
        return train(args.family, params, IMAGES, MODELS / args.family)
    if args.family in BASELINES:
        return train(args.family, params, IMAGES, MODELS / args.family)
    return train("transformer", params, TEXT, TRANSFORMER)


def adapt(args: argparse.Namespace) -> int:
    from stepladder.data.images import prepare_own
    from stepladder.training.launch import train

    params, base = _adaptation(args)
    if args.pictures or not (OWN / "card.json").exists():
        prepare_own(params, _config(base)["model"]["shape"], OWN)
    return train("adapted", params, OWN, args.out or ADAPTED / params.adaptation.method)


def evaluate(args: argparse.Namespace) -> int:
    from stepladder.params import load
    from stepladder.tracking import evaluations, store

    params = load()
    store.check()
    if args.family == "diffusion":
        from stepladder.evaluation.images import evaluate as evaluate_images

        timesteps = _timesteps(args)
        model, out = _diffusion(timesteps), REPORTS / "diffusion" / f"T{timesteps}"
        evaluate_images(params, timesteps, IMAGES, FEATURE_NET, model, out, classifier=NOISY_CLASSIFIER)
    elif args.family == "adapted":
        from stepladder.evaluation.adaptation import evaluate as evaluate_adapted

        params, base = _adaptation(args)
        model = base if args.before else ADAPTED / params.adaptation.method
        out = REPORTS / "adapted" / ("before" if args.before else params.adaptation.method)
        evaluate_adapted(params, IMAGES, OWN, FEATURE_NET, model, out)
        if args.before:
            return 0
    elif args.family in BASELINES:
        from stepladder.evaluation.baselines import evaluate as evaluate_baseline

        model, out = MODELS / args.family, REPORTS / args.family
        evaluate_baseline(params, args.family, IMAGES, FEATURE_NET, model, out)
    else:
        from stepladder.evaluation.text import evaluate as evaluate_text

        model, out = TRANSFORMER, REPORTS / "transformer"
        evaluate_text(params, TEXT, model, out)
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


def params(args: argparse.Namespace) -> int:
    from stepladder.params import PARAMS_FILE, load, render

    text = render(load(preset=args.preset, overrides=args.set))
    if args.write:
        PARAMS_FILE.write_text(text, encoding="utf-8")
        print(f"{PARAMS_FILE} written; `dvc repro` runs it, `dvc params diff` shows what changed.")
    elif not args.check:
        print(text, end="")
    return 0


def sync(args: argparse.Namespace) -> int:
    from stepladder.tracking import store, sync

    store.check()
    print(sync.sync(args.paths))
    return 0


def sample(args: argparse.Namespace) -> int:
    from stepladder.tracking.fetch import fetch

    folder, usual = fetch(args.model)
    if _family(folder) in BASELINES:
        return _sample_baseline(args, folder)
    from stepladder.diffusion import requests
    from stepladder.diffusion.drawing import draw, load

    model, config = load(folder)
    requests.from_nothing(config)
    sampling, steps = _sampling(args, config, usual)
    classifier, classes = _classifier(args, config, sampling)
    known = config | {"classes": classes}
    asked = requests.rows(known, args.label, args.text, args.count)
    condition = requests.condition(known, requests.tokenizer(folder, config), *asked)
    pictures = draw(_placed(model), config, condition, steps, sampling, seed=args.seed, classifier=classifier)
    return _drawn(args, pictures, config, steps, sampling)


def inpaint(args: argparse.Namespace) -> int:
    import torch

    from stepladder.data import picture_files
    from stepladder.data.grid import scaled
    from stepladder.diffusion import inpainting, requests
    from stepladder.diffusion.drawing import load
    from stepladder.tracking.fetch import fetch

    folder, usual = fetch(args.model)
    model, config = load(folder)
    requests.from_nothing(config)
    sampling, steps = _sampling(args, config, usual)
    shape = config["model"]["shape"]
    known = scaled(picture_files.picture(args.picture, *shape)[None])[0]
    mask = torch.from_numpy(picture_files.mask(args.mask, *shape[1:]))
    condition = requests.alike(config, requests.tokenizer(folder, config), args.label, args.text, args.count)
    pictures = inpainting.inpaint(
        _placed(model), config, condition, known, mask, steps, sampling,
        seed=args.seed, jump=args.jump, resamples=args.resamples,
    )  # fmt: skip
    return _drawn(args, pictures, config, steps, sampling)


def upscale(args: argparse.Namespace) -> int:
    import numpy as np

    from stepladder.data import picture_files
    from stepladder.data.grid import scaled
    from stepladder.diffusion import requests, super_resolution
    from stepladder.diffusion.drawing import draw, load
    from stepladder.tracking.fetch import fetch

    folder, usual = fetch(args.model)
    model, config = load(folder)
    small = (config["model"]["shape"][0], *super_resolution.sides(config))
    sampling, steps = _sampling(args, config, usual)
    files = picture_files.files(args.pictures)
    low = scaled(np.stack([picture_files.picture(file, *small) for file in files]))
    condition = requests.alike(config, requests.tokenizer(folder, config), args.label, args.text, len(files))
    condition |= super_resolution.condition(low, args.noise, seed=args.seed)
    return _drawn(
        args, draw(_placed(model), config, condition, steps, sampling, seed=args.seed), config, steps, sampling
    )


def _sample_baseline(args: argparse.Namespace, folder: Path) -> int:
    from stepladder.baselines.drawing import draw, load
    from stepladder.data.grid import grid
    from stepladder.diffusion.drawing import class_numbers

    model, config = load(folder)
    options = ("text", "steps", "sampler", "spacing", "scale", "set", "classifier")
    if given := [name for name in options if getattr(args, name)]:
        raise UserError(
            f"--{given[0]} is of diffusion models; {folder} holds a {config['family']}, which draws in one pass."
        )
    labels = class_numbers(config, args.label, args.count)
    grid(draw(model, config, {"labels": labels}, seed=args.seed), columns=10).save(args.out)
    print(f"{args.out}: {len(labels)} pictures of a {config['family']} in one pass of its network")
    return 0


def translate(args: argparse.Namespace) -> int:
    from stepladder.params import Decoding, section
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.translation import load, translate

    folder, settings = fetch(args.model)
    model, tokenizer, config = load(folder)
    changed = {} if args.beam_size is None else {"beam_size": args.beam_size}
    decoding = section(Decoding, settings.get("decoding", {}) | changed, "decoding")
    try:
        lines = args.file.open(encoding="utf-8") if args.file else sys.stdin
    except OSError as error:
        raise UserError(
            f"{args.file} cannot be read ({error.strerror}); name a text file, one sentence a line."
        ) from None
    for line in lines:
        print(*translate(model, tokenizer, config, [line.strip()], decoding, args.language), flush=True)
    return 0


def study(args: argparse.Namespace) -> int:
    from stepladder.studies import spec

    if args.action == "list":
        for name in spec.names():
            print(f"{name}: {spec.read(name).question}")
        return 0
    if args.action == "stages":
        from stepladder.studies import stages

        for name in args.names or spec.names():
            print(stages.write(name))
        return 0
    if args.action == "cell":
        from stepladder.studies import cell

        return cell.run(args.name, args.arm, args.seed, IMAGES, FEATURE_NET)
    if args.action == "page":
        from stepladder.studies import page

        print(f"study: {page.write(args.name, REPORTS)}")
        return 0
    from stepladder.studies import running

    return running.run(args.name, args.jobs, REPORTS)


def cost(args: argparse.Namespace) -> int:
    from stepladder.data.card import read_card
    from stepladder.diffusion.cost import costs
    from stepladder.params import load

    params = load(preset=args.preset, overrides=args.set)
    if args.shape:
        shape, classes = _shape(args.shape), 10
    else:
        card = read_card(IMAGES)
        shape, classes = card["shape"], len(card["classes"])
    batch = args.batch or params.diffusion.training.batch_size
    print(
        f"{'pictures of ' + 'x'.join(map(str, shape)):44s}{'parameters':>12s}{'MFLOP':>10s}{'ms a step':>11s}{'kept, KB':>10s}"
    )
    for row in costs(params.diffusion, shape, classes, batch):
        print(
            f"{row.name:44s}{row.parameters:>12,d}{row.flops / 1e6:>10.2f}{1000 * row.step_seconds:>11.1f}"
            f"{row.activation_bytes / 1e3:>10.0f}",
            flush=True,
        )
    print(f"MFLOP: of a forward for one picture. A step: forward, backward and AdamW at batch {batch}. Kept: for the "
          "backward of one picture.")  # fmt: skip
    return 0


def _shape(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--shape {text} is not C,H,W; give three numbers above 0, such as 3,32,32.")
    return [int(part) for part in parts]


def doctor(args: argparse.Namespace) -> int:
    from stepladder.doctor import run

    return run()


def where(args: argparse.Namespace) -> int:
    import json

    print(f"\nReport:   {(REPORTS / 'index.html').resolve()}\nFigures:  {(REPORTS / 'figures').resolve()}")
    registered = json.loads((REPORTS / "registered.json").read_text(encoding="utf-8"))
    for model in registered["models"]:
        aliases = ", ".join(f"models:/{model['name']}@{alias}" for alias in model["aliases"])
        print(f"Model:    {model['name']} version {model['version']} ({aliases})")
    if not registered["models"]:
        print(f"Models:   {MODELS.resolve()} (none registered)")
    print("UIs:      make ui   (Prefect and MLflow on this machine, with their addresses)")
    return 0


def _sampling(args: argparse.Namespace, config: dict[str, Any], usual: dict[str, Any]) -> tuple[Any, int]:
    """How a diffusion model is to draw, and in how many steps S."""
    from stepladder.diffusion import requests

    options = {"sampler": getattr(args, "sampler", None), "spacing": args.spacing, "guidance_scale": args.scale}
    return (
        requests.sampling(config, usual.get("sampling", {}), options, args.set),
        requests.steps(config, usual.get("steps"), args.steps),
    )


def _classifier(args: argparse.Namespace, config: dict[str, Any], sampling: Any) -> tuple[Any, list[Any]]:
    """The noisy classifier, where one is to guide, and the classes that can be asked for, which then are its own.

    Raises:
        UserError: it is named and does not guide, or it is missing or of another kind.
    """
    from stepladder.diffusion.classifier import load

    if sampling.classifier_scale:
        classifier, own = load(args.classifier or NOISY_CLASSIFIER, config)
        return _placed(classifier), own["classes"]
    if args.classifier:
        raise UserError(
            "--classifier guides by sampling.classifier_scale, which is 0; add -S sampling.classifier_scale=1."
        )
    return None, config["classes"]


def _adaptation(args: argparse.Namespace) -> tuple[Any, Path]:
    """The spec with what the command line says of the adaptation, and the folder of the model that is adapted."""
    from stepladder.params import build, load, merge
    from stepladder.tracking.fetch import fetch

    spec = load().model_dump(mode="json")
    given = {key: getattr(args, key, None) for key in ("model", "method", "pictures")}
    changed = {"adaptation": {key: str(value) for key, value in given.items() if value}}
    base, _ = fetch(merge(spec, changed)["adaptation"]["model"])
    return build(merge(merge(spec, changed), {"adaptation": {"model": str(base)}})), base


def _config(folder: Path) -> dict[str, Any]:
    from stepladder.diffusion.drawing import load

    return load(folder)[1]


def _placed(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _drawn(args: argparse.Namespace, pictures: Any, config: dict[str, Any], steps: int, sampling: Any) -> int:
    """Save ``pictures``, a single one as it is and several as a sheet, and say how they came to be."""
    import json

    from stepladder.data.grid import grid, single

    image = single(pictures[0]) if args.verb != "sample" and len(pictures) == 1 else grid(pictures, columns=10)
    try:
        image.save(args.out)
    except (OSError, ValueError) as error:
        raise UserError(f"{args.out} cannot be written ({error}); name a file such as samples.png.") from None
    how = f"in S={steps} of T={config['timesteps']} steps, {json.dumps(sampling.model_dump())}"
    print(f"{args.out}: {len(pictures)} pictures {how}")
    return 0


def _timesteps(args: argparse.Namespace) -> int:
    if args.timesteps is None or args.timesteps < 1:
        raise UserError(f"--timesteps {args.timesteps} given; a diffusion model has T = 1 or more timesteps.")
    return int(args.timesteps)


def _family(folder: Path) -> str:
    """The family that the model's configuration names; empty where it names none, as a diffusion model's."""
    import json

    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("family", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _diffusion(timesteps: int) -> Path:
    return MODELS / "diffusion" / f"T{timesteps}"


def _track(record: Callable[[], object]) -> None:
    """Figures are on disk already: a tracking store that fails now costs a line, not the stage."""
    from stepladder.tracking import store

    if store.uri():
        try:
            record()
        except UserError as error:
            print(f"tracking: {error}")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="stepladder", description="Reproducible training of Transformers and diffusion models."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, function: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help)
        added.set_defaults(function=function)
        return added

    added = verb("prepare", prepare, "make the prepared form of a data set")
    added.add_argument("kind", choices=["images", "text", "own"])
    for name, function, families in (
        ("train", train, ["feature-net", "noisy-classifier", "diffusion", "transformer", *BASELINES]),
        ("evaluate", evaluate, ["diffusion", "adapted", *BASELINES, "transformer"]),
    ):
        added = verb(name, function, f"{name} a model of the prepared data")
        added.add_argument("family", choices=families)
        added.add_argument("--timesteps", type=int, metavar="T", help="timesteps T of the diffusion model")
        if name == "evaluate":
            added.add_argument("--method", choices=METHODS, help="of the adapted model; default: adaptation.method")
            added.add_argument("--before", action="store_true", help="judge the model before it was adapted")
    added = verb("adapt", adapt, "adapt a trained diffusion model to a folder of your own pictures")
    added.add_argument("--model", help="folder of a model, or models:/NAME@ALIAS; default: adaptation.model")
    added.add_argument(
        "--pictures", help="folder of pictures, prepared anew; default: what is prepared, or adaptation.pictures"
    )
    added.add_argument("--method", choices=METHODS, help="default: adaptation.method")
    added.add_argument("--out", type=Path, help="folder of the adapted model; default: models/adapted/METHOD")
    verb("compare", compare, "bring all evaluations together")
    verb("register", register, "put the best models in the registry")
    verb("report", report, "write reports/index.html")
    added = verb("params", params, "print the resolved parameters, or a preset's")
    added.add_argument("--preset", default="", help="start from presets/PRESET.yaml instead of params.yaml")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one parameter")
    added.add_argument("--write", action="store_true", help="write them to params.yaml")
    added.add_argument("--check", action="store_true", help="only check them")
    added = verb("sync", sync, "send journals, figures and models that the tracking store lacks")
    added.add_argument("paths", nargs="*", type=Path, help="folders with journals; default: all of the project's")
    added = verb("sample", sample, "draw pictures")
    _drawing_options(added, Path("samples.png"))
    added.add_argument("--sampler", help=SAMPLER)
    added.add_argument(
        "--label", "--style", action="append", help="class to draw; may be repeated; default: all in turn"
    )
    added.add_argument("--text", action="append", help="what to draw, where the model reads texts; may be repeated")
    added.add_argument("--count", type=int, default=10, help="pictures of each class and text, or in all")
    added.add_argument(
        "--classifier",
        type=Path,
        help="noisy classifier for sampling.classifier_scale; default: models/noisy-classifier",
    )
    added = verb("inpaint", inpaint, "draw a part of a picture anew (RePaint)")
    _drawing_options(added, Path("inpainted.png"))
    added.add_argument("--picture", type=Path, required=True, help="what is there already")
    added.add_argument(
        "--mask", type=Path, required=True, help="picture that is white where to draw, black where to keep"
    )
    added.add_argument("--label", "--style", help="class of what to draw; default: none")
    added.add_argument("--text", help="text of what to draw, where the model reads texts; default: none")
    added.add_argument("--count", type=int, default=1, help="pictures; several are saved as one sheet")
    added.add_argument("--jump", type=int, default=10, help="levels gone back at once")
    added.add_argument("--resamples", type=int, default=10, help="times that each level is gone over")
    added = verb("upscale", upscale, "enlarge small pictures (super-resolution)")
    _drawing_options(added, Path("upscaled.png"))
    added.add_argument("--sampler", help=SAMPLER)
    added.add_argument(
        "--pictures", type=Path, required=True, help="a picture, or a folder of pictures, saved as one sheet"
    )
    added.add_argument("--label", "--style", help="class of the pictures; default: none")
    added.add_argument("--text", help="text of the pictures, where the model reads texts; default: none")
    added.add_argument("--noise", type=float, default=0.0, help="added to the small pictures first, and told, 0 to 1")
    added = verb("translate", translate, "translate lines of standard input or of a file")
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--file", type=Path)
    added.add_argument("--language", help="target language, where the model knows several")
    added.add_argument("--beam-size", type=int, help="hypotheses kept; default: the model's")
    actions = verb("study", study, "run a study, or a part of it").add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="the studies and their questions")
    added = actions.add_parser("run", help="bring a study up to date: its cells, several at once, and its page")
    added.add_argument("name")
    added.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="cells at once, each with its share of the cores"
    )
    added = actions.add_parser("stages", help="write studies/NAME/dvc.yaml as study.yaml says")
    added.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    added = actions.add_parser("cell", help="train and judge one arm with one seed")
    added.add_argument("name")
    added.add_argument("arm")
    added.add_argument("seed", type=int)
    actions.add_parser("page", help="write the page of what is finished").add_argument("name")
    added = verb("cost", cost, "what the denoising network and its variants cost")
    added.add_argument("--preset", default="", help="of presets/PRESET.yaml instead of params.yaml")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one parameter")
    added.add_argument("--shape", default="", metavar="C,H,W", help="of the pictures; default: the prepared ones'")
    added.add_argument("--batch", type=int, default=0, help="pictures a step; default: the training's")
    verb("doctor", doctor, "check this machine and say how to mend what is wrong")
    verb("where", where, "say where the results are")
    return top


def _drawing_options(added: argparse.ArgumentParser, out: Path) -> None:
    added.add_argument("--model", required=True, help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--out", type=Path, default=out)
    added.add_argument("--steps", type=int, help="sampling steps S; default: the model's")
    added.add_argument("--spacing", help="which of the T steps are visited; default: the model's")
    added.add_argument("--scale", type=float, help="guidance scale; default: the model's")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="such as sampling.eta=0.5")
    added.add_argument("--seed", type=int, default=0)


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit code: 0, or 2 with one sentence for what the user can mend."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    args = parser().parse_args(argv)
    try:
        return args.function(args)
    except UserError as error:
        print(f"stepladder: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
