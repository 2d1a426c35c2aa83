"""``stepladder study``: claims as measured experiments."""

from __future__ import annotations

import argparse

from stepladder.commands import Verb
from stepladder.commands.places import FEATURE_NET, IMAGES, REPORTS, TEXT


def add(verb: Verb) -> None:
    """Add the verb ``study`` and its actions to the command line."""
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


def study(args: argparse.Namespace) -> int:
    """List the studies, or run one or a part of it.

    Returns 0, or 1 where a cell failed; for a single cell, its exit code.
    Raises ``UserError`` where there is no such study or arm, or it cannot be run on the prepared data.
    """
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
        from stepladder import slots

        with slots.occupy(f"study {args.name}: {args.arm} seed {args.seed}"):
            from stepladder.studies import cell

            data = TEXT if spec.read(args.name).of_text else IMAGES
            return cell.run(args.name, args.arm, args.seed, data, FEATURE_NET)
    if args.action == "page":
        from stepladder.studies import page

        print(f"study: {page.write(args.name, REPORTS)}")
        return 0
    from stepladder.studies import running

    data = TEXT if spec.read(args.name).of_text else IMAGES
    return running.run(args.name, args.jobs, REPORTS, data, FEATURE_NET)
