"""The project itself: parameters, the cost of networks, the tracking store, this machine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stepladder.commands import Verb
from stepladder.commands.places import IMAGES, MODELS, NOISY_CLASSIFIER, REPORTS, TEXT
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    """Add the verbs about the project and this machine to the command line, from ``params`` to ``where``."""
    added = verb("params", params, "print the resolved parameters, or lay a preset over them")
    added.add_argument(
        "--preset", default="", help="lay presets/PRESET.yaml over params.yaml: sections that it is not about stay"
    )
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one parameter")
    added.add_argument("--write", action="store_true", help="write them to params.yaml, and say what changed")
    added.add_argument(
        "--check", action="store_true", help="only check them, also against the data that was prepared with them"
    )
    added = verb("cost", cost, "what the denoising network and its variants cost")
    added.add_argument("--preset", default="", help="with presets/PRESET.yaml laid over params.yaml")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one parameter")
    added.add_argument("--shape", default="", metavar="C,H,W", help="of the pictures; default: the prepared ones'")
    added.add_argument("--batch", type=int, default=0, help="pictures a step; default: the training's")
    added = verb("sync", sync, "send journals, figures and models that the tracking store lacks")
    added.add_argument("paths", nargs="*", type=Path, help="folders with journals; default: all of the project's")
    added = verb("prune", prune, "remove old checkpoints until the disk budget is kept")
    added.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    added.add_argument("--gb", type=float, help="the budget in gigabytes; default: STEPLADDER_DISK_GB")
    verb("slots", slots, "the device slots of this machine, and who holds them")
    added = verb("doctor", doctor, "check this machine and say how to mend what is wrong")
    which = added.add_mutually_exclusive_group()
    which.add_argument(
        "--cache", action="store_true", help="instead read all of DVC's cache and put damaged objects aside"
    )
    which.add_argument(
        "--store",
        action="store_true",
        help="instead make artifacts that a copied or moved store names elsewhere its own",
    )
    verb("where", where, "say where the results are")


def params(args: argparse.Namespace) -> int:
    """Print the resolved parameters, check them against the prepared data, or write them to ``params.yaml``. Returns 0.

    Raises ``UserError`` where the parameters or the preset are not valid, or the prepared data refuses them.
    """
    from stepladder.params import PARAMS_FILE, parse_overrides, render, resolve

    resolved = resolve(args.preset, parse_overrides(args.set), may_be_absent=args.write)
    if args.check:
        from stepladder.launching.check import of_project

        of_project(resolved.params, {"images": IMAGES, "text": TEXT}, NOISY_CLASSIFIER)
    if args.write:
        PARAMS_FILE.write_text(render(resolved.params), encoding="utf-8")
        count = len(resolved.changes)
        runs = (
            "`dvc repro` runs it."
            if Path("dvc.yaml").exists()
            else "`stepladder new FOLDER` makes a project to run it in."
        )
        print(f"{PARAMS_FILE} written, {count or 'no'} value{'' if count == 1 else 's'} changed; {runs}")
        print(*(f"  {change}" for change in resolved.changes), sep="\n", end="\n" if count else "")
    elif not args.check:
        print(render(resolved.params), end="")
    return 0


def sync(args: argparse.Namespace) -> int:
    """Send to the tracking store what it lacks, and print a summary. Returns 0.

    Raises ``UserError`` where there is no store, it does not answer, or a path does not exist.
    """
    from stepladder.commands.present import Present
    from stepladder.tracking import health, sync

    health.check()
    print(sync.sync(args.paths, Present))
    return 0


def cost(args: argparse.Namespace) -> int:
    """Print what the denoising network and its variants cost: parameters, MFLOP, milliseconds a step, kilobytes kept. Returns 0.

    Raises ``UserError`` where the parameters or the shape are not valid, or no pictures are prepared and no shape is given.
    """
    from stepladder.data.card import PicturesCard, card_of
    from stepladder.diffusion.cost import costs
    from stepladder.params import parse_overrides, resolve

    params = resolve(args.preset, parse_overrides(args.set)).params
    if args.shape:
        shape, classes = _shape(args.shape), 10
    else:
        card = card_of(IMAGES, PicturesCard)
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


def prune(args: argparse.Namespace) -> int:
    """Remove the oldest checkpoints and models of sweeps until the disk budget is kept, a printed line each. Returns 0.

    Raises ``UserError`` where there is no budget, or it is no number.
    """
    from stepladder import disk
    from stepladder.tracking.registry import registered_runs

    if args.gb is not None:
        os.environ[disk.BUDGET] = str(args.gb)
    allowed = disk.budget()
    if allowed is None:
        raise UserError(f"There is no disk budget; set {disk.BUDGET}, or give one: stepladder prune --gb 5.")
    disk.prune(allowed, print, registered_runs, dry=args.dry_run)
    return 0


def slots(args: argparse.Namespace) -> int:
    """Print a line for each device slot of this machine, with who holds it. Returns 0."""
    from stepladder.slots import uses

    print(*uses(), sep="\n")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Check this machine or DVC's cache, and print the findings; or repair the artifact locations of a moved store.

    Returns 1 where something is wrong, else 0.
    """
    from stepladder.doctor import cache, run

    if args.store:
        from stepladder.tracking import store

        print(store.bring_home())
        return 0
    return cache() if args.cache else run()


def where(args: argparse.Namespace) -> int:
    """Print where the report, the figures, the registered models and the servers' pages are. Returns 0."""
    from stepladder import history, installed
    from stepladder.reporting.report import PAGE, REGISTERED, is_current

    page = (REPORTS / PAGE).resolve() if is_current(REPORTS) else "`stepladder report` writes it"
    print(f"\nReport:   {page}\nFigures:  {(REPORTS / 'figures').resolve()}")
    registered = [model for model in history.read(REPORTS / REGISTERED).get("models", []) if "version" in model]
    for model in registered:
        aliases = ", ".join(f"models:/{model['name']}@{alias}" for alias in model["aliases"])
        print(f"Model:    {model['name']} version {model['version']} ({aliases})")
    if not registered:
        print(f"Models:   {MODELS.resolve()} (none registered)")
    print(f"UIs:      {installed.pages(Path())}   (Prefect and MLflow on this machine, with their addresses)")
    return 0
