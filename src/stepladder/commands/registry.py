"""The life of a registered model: where it comes from, its promotion, its rollback, its reproduction."""

from __future__ import annotations

import argparse
from pathlib import Path

from stepladder.commands import Verb

VERSION = "models:/NAME/VERSION, models:/NAME@ALIAS or NAME (its @champion); the beginning of a name will do"


def add(verb: Verb) -> None:
    """Add the verbs about registered models to the command line, from ``show`` to ``reproduce``."""
    added = verb("show", show, "say how good a registered model is and where it comes from")
    added.add_argument("model", help=VERSION)
    added = verb("history", history, "say which versions a registered model's aliases have named, since when and why")
    added.add_argument("name", help="of the registered model")
    added = verb("promote", promote, "make a version @champion, if it passes the gate (`promotion` in params.yaml)")
    added.add_argument("model", help=VERSION.replace("@champion", "@challenger"))
    added.add_argument("--force", action="store_true", help="whatever the gate says; needs --reason")
    added.add_argument("--reason", default="", help="kept in the history")
    added = verb("rollback", rollback, "make an earlier version @champion again")
    added.add_argument("name", help="of the registered model")
    added.add_argument("--to", default="", metavar="VERSION", help="default: the champion before the present one")
    added.add_argument("--reason", required=True, help="kept in the history")
    added = verb("reproduce", reproduce, "train a registered model again from its lineage, and compare")
    added.add_argument("model", help=VERSION)
    added.add_argument("--out", type=Path, help="folder for it; default: .reproductions/NAME-VERSION")
    added.add_argument("--evaluate", action="store_true", help="judge it again also where it is bit-identical")


def show(args: argparse.Namespace) -> int:
    """Print the figures of a registered model and where it comes from. Returns 0.

    Raises ``UserError`` where there is no such model, or the store does not answer.
    """
    from stepladder.tracking.show import show

    print(show(args.model))
    return 0


def history(args: argparse.Namespace) -> int:
    """Print every change of a registered model's aliases, the oldest first. Returns 0.

    Raises ``UserError`` where there is no such model, or the store does not answer.
    """
    from stepladder.tracking import aliases

    for change in aliases.history(args.name):
        print(change)
    return 0


def promote(args: argparse.Namespace) -> int:
    """Make a version ``@champion`` if it passes the gate or is forced, and print the verdict.

    Returns 1 where the gate refused it, else 0. Raises ``UserError`` where there is no such version, or it is forced without a reason.
    """
    from stepladder.commands.present import Present
    from stepladder.params import load
    from stepladder.tracking import promotion

    params = load()
    verdict = promotion.promote(
        args.model, params.promotion, force=args.force, reason=args.reason, rejudge=Present(params)
    )
    print(f"{verdict.name} version {verdict.version}: {verdict.why}")
    return 1 if verdict.reasons and not verdict.promoted else 0


def rollback(args: argparse.Namespace) -> int:
    """Make an earlier version ``@champion`` again, and print the change. Returns 0.

    Raises ``UserError`` where there is no such version, none to go back to, or no reason.
    """
    from stepladder.tracking import aliases

    print(aliases.rollback(args.name, args.to, reason=args.reason))
    return 0


def reproduce(args: argparse.Namespace) -> int:
    """Train a registered model again from its lineage, and print how the two compare.

    Returns 0 where the weights are identical or no figure differs by more than its interval, else 1. Raises ``UserError``
    where there is no such model, or its lineage does not suffice.
    """
    from stepladder.tracking import reproduction

    result = reproduction.reproduce(
        args.model, args.out, evaluate=args.evaluate, log=lambda line: print(line, flush=True)
    )
    print(result)
    return 0 if result.succeeded else 1
