"""Draw with a trained model: sample, inpaint, upscale."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepladder.commands import Verb
from stepladder.commands.places import BASELINES, NOISY_CLASSIFIER
from stepladder.errors import UserError

if TYPE_CHECKING:
    from stepladder.diffusion.networks.description import DiffusionDescription
    from stepladder.text_tasks.record import Settings

SAMPLER = "default: the model's; `stepladder params` lists them"


def add(verb: Verb) -> None:
    """Add the verbs that draw pictures to the command line: ``sample``, ``inpaint`` and ``upscale``."""
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


def sample(args: argparse.Namespace) -> int:
    """Draw pictures with a diffusion model, a VAE or a GAN, and save them as one sheet. Returns 0.

    Raises ``UserError`` where the model cannot draw this, or the file cannot be written.
    """
    from stepladder.description import kind
    from stepladder.tracking.fetch import fetch

    folder, defaults = fetch(args.model)
    if kind(folder) in BASELINES:
        return _sample_baseline(args, folder)
    from stepladder.diffusion import requests
    from stepladder.diffusion.sampling.drawing import draw, load

    model, description = load(folder)
    requests.check_generates(description)
    sampling, steps = _sampling(args, description, defaults)
    classifier, known = _classifier(args, folder, description, sampling)
    rows = requests.expand(known, args.label, args.text, args.count)
    condition = requests.condition(known, requests.tokenizer(folder, description), *rows)
    pictures = draw(_on_device(model), description, condition, steps, sampling, seed=args.seed, classifier=classifier)
    return _save_pictures(args, pictures, description, steps, sampling)


def inpaint(args: argparse.Namespace) -> int:
    """Draw anew what is white in the mask, in a picture of the size that the model draws, and save it. Returns 0.

    Raises ``UserError`` where a picture cannot be read, the model cannot draw this, or the file cannot be written.
    """
    import torch

    from stepladder.data import picture_files
    from stepladder.data.grid import scaled
    from stepladder.diffusion import inpainting, requests
    from stepladder.diffusion.sampling.drawing import load
    from stepladder.tracking.fetch import fetch

    folder, defaults = fetch(args.model)
    model, description = load(folder)
    requests.check_generates(description)
    sampling, steps = _sampling(args, description, defaults)
    shape = description.model.shape
    known = scaled(picture_files.picture(args.picture, *shape)[None])[0]
    mask = torch.from_numpy(picture_files.mask(args.mask, *shape[1:]))
    classifier, classes = _classifier(args, folder, description, sampling)
    condition = requests.repeated_condition(
        classes, requests.tokenizer(folder, description), args.label, args.text, args.count
    )
    pictures = inpainting.inpaint(
        _on_device(model), description, condition, known, mask, steps, sampling,
        seed=args.seed, jump=args.jump, resamples=args.resamples, classifier=classifier,
    )  # fmt: skip
    return _save_pictures(args, pictures, description, steps, sampling)


def upscale(args: argparse.Namespace) -> int:
    """Enlarge pictures, each first brought to the low resolution that the model knows, and save them. Returns 0.

    Raises ``UserError`` where the model is not one of super-resolution, a picture cannot be read, or the file cannot be written.
    """
    import numpy as np

    from stepladder.data import picture_files
    from stepladder.data.grid import scaled
    from stepladder.diffusion import requests, super_resolution
    from stepladder.diffusion.sampling.drawing import draw, load
    from stepladder.tracking.fetch import fetch

    folder, defaults = fetch(args.model)
    model, description = load(folder)
    small = (description.model.shape[0], *super_resolution.sides(description))
    sampling, steps = _sampling(args, description, defaults)
    files = picture_files.files(args.pictures)
    low = scaled(np.stack([picture_files.picture(file, *small) for file in files]))
    classifier, classes = _classifier(args, folder, description, sampling)
    condition = requests.repeated_condition(
        classes, requests.tokenizer(folder, description), args.label, args.text, len(files)
    )
    condition |= super_resolution.condition(low, args.noise, seed=args.seed)
    pictures = draw(_on_device(model), description, condition, steps, sampling, seed=args.seed, classifier=classifier)
    return _save_pictures(args, pictures, description, steps, sampling)


def _sample_baseline(args: argparse.Namespace, folder: Path) -> int:
    from stepladder.baselines.drawing import draw, load
    from stepladder.data.grid import grid
    from stepladder.diffusion.sampling.drawing import class_numbers

    model, description = load(folder)
    options = ("text", "steps", "sampler", "spacing", "scale", "set", "classifier")
    if unknown := [name for name in options if getattr(args, name)]:
        raise UserError(
            f"--{unknown[0]} is of diffusion models; {folder} holds a {description.family}, which draws in one pass."
        )
    labels = class_numbers(description.classes, args.label, args.count)
    grid(draw(model, description, {"labels": labels}, seed=args.seed), columns=10).save(args.out)
    print(f"{args.out}: {len(labels)} pictures of a {description.family} in one pass of its network")
    return 0


def _sampling(args: argparse.Namespace, description: DiffusionDescription, defaults: Settings) -> tuple[Any, int]:
    """The settings of sampling for a diffusion model, and its number of steps S."""
    from stepladder.diffusion import requests

    options = {"sampler": getattr(args, "sampler", None), "spacing": args.spacing, "guidance_scale": args.scale}
    return (
        requests.sampling(description, {**defaults.get("sampling", {})}, options, args.set),
        requests.steps(description, defaults.get("steps"), args.steps),
    )


def _classifier(
    args: argparse.Namespace, folder: Path, description: DiffusionDescription, sampling: Any
) -> tuple[Any, DiffusionDescription]:
    """The noisy classifier, where one guides, and ``description`` with the classes that can be drawn: then the classifier's.

    It is the one of ``--classifier``, else the one in a registered model's folder, else the workspace's.

    Raises:
        UserError: it is named although ``sampling.classifier_scale`` is 0, or it is missing or of another kind.
    """
    from stepladder.diffusion.classifier import load
    from stepladder.diffusion.processes.settings import BUNDLED_CLASSIFIER

    named = getattr(args, "classifier", None)
    if sampling.classifier_scale:
        bundled = folder / BUNDLED_CLASSIFIER
        classifier, described = load(named or (bundled if bundled.is_dir() else NOISY_CLASSIFIER), description)
        return _on_device(classifier), description.model_copy(update={"classes": described.classes})
    if named:
        raise UserError(
            "--classifier guides by sampling.classifier_scale, which is 0; add -S sampling.classifier_scale=1."
        )
    return None, description


def _on_device(model: Any) -> Any:
    import torch

    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _save_pictures(
    args: argparse.Namespace, pictures: Any, description: DiffusionDescription, steps: int, sampling: Any
) -> int:
    """Save ``pictures``, a single one as it is and several as a sheet, and print how they were drawn."""
    import json

    from stepladder.data.grid import grid, single

    image = single(pictures[0]) if args.verb != "sample" and len(pictures) == 1 else grid(pictures, columns=10)
    try:
        image.save(args.out)
    except (OSError, ValueError) as error:
        raise UserError(f"{args.out} cannot be written ({error}); name a file such as samples.png.") from None
    how = f"in S={steps} of T={description.timesteps} steps, {json.dumps(sampling.model_dump())}"
    print(f"{args.out}: {len(pictures)} pictures {how}")
    return 0


def _drawing_options(added: argparse.ArgumentParser, out: Path) -> None:
    added.add_argument("--model", required=True, help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--out", type=Path, default=out)
    added.add_argument("--steps", type=int, help="sampling steps S; default: the model's")
    added.add_argument("--spacing", help="which of the T steps are visited; default: the model's")
    added.add_argument("--scale", type=float, help="guidance scale; default: the model's")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="such as sampling.eta=0.5")
    added.add_argument("--seed", type=int, default=0)
