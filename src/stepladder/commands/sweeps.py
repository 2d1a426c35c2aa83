"""``stepladder sweep``: a family of models over a space of parameters."""

from __future__ import annotations

import argparse
from typing import Any

from stepladder.commands import Verb
from stepladder.commands.places import FEATURE_NET, IMAGES, TEXT


def add(verb: Verb) -> None:
    """Add the verb ``sweep`` and its actions to the command line."""
    actions = verb("sweep", sweep, "run a sweep, or show one").add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="the sweeps and what they are for")
    added = actions.add_parser("run", help="bring a sweep up to date: its children, several at once")
    added.add_argument("name")
    added.add_argument("--jobs", type=int, default=1, metavar="N", help="children at once")
    actions.add_parser("show", help="means and intervals over the seeds, the best first").add_argument("name")
    added = actions.add_parser("child", help="train and judge one point with one seed")
    added.add_argument("name")
    added.add_argument("point")
    added.add_argument("seed", type=int)
    added.add_argument("--with-parent", action="store_true", help="end when standard input closes")


def sweep(args: argparse.Namespace) -> int:
    """List the sweeps, show or run one, or run a single child of it.

    Returns 0, or 1 where a child failed; for a single child, its exit code.
    Raises ``UserError`` where there is no such sweep or point, or it already runs.
    """
    from stepladder.sweeps import spec

    if args.action == "list":
        for name in spec.names():
            print(f"{name}: {spec.read(name).about or spec.read(name).family}")
        return 0
    if args.action == "child":
        return _child(args)
    if args.action == "show":
        from stepladder.sweeps import results, running

        sweep_spec = spec.read(args.name)
        print(results.table(sweep_spec, running.finished_rows(args.name, sweep_spec, _places())))
        return 0
    from stepladder.sweeps import running

    return running.run(args.name, args.jobs, _places())


def _child(args: argparse.Namespace) -> int:
    from stepladder import slots
    from stepladder.sweeps import child

    if args.with_parent:
        child.end_with_parent()
    sweep_child = child.read(args.name, args.point, args.seed, _places())
    with slots.occupy(f"sweep {args.name}: {sweep_child.title}"):
        return sweep_child.make()


def _places() -> Any:
    from stepladder.sweeps.child import Places

    return Places(IMAGES, TEXT, FEATURE_NET)
