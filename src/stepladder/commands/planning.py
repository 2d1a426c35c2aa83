"""``stepladder plan``: what would run, and its cost."""

from __future__ import annotations

import argparse

from stepladder.commands import Verb
from stepladder.commands.places import FEATURE_NET, IMAGES, TEXT


def add(verb: Verb) -> None:
    """Add the verb ``plan`` to the command line."""
    added = verb("plan", plan, "say what would run, what is there, what resumes, and what it takes")
    added.add_argument("stages", nargs="*", metavar="STAGE", help="of dvc.yaml, with what they need; default: all")
    which = added.add_mutually_exclusive_group()
    which.add_argument("--sweep", metavar="NAME", help="the children of a sweep")
    which.add_argument("--study", metavar="NAME", help="the cells of a study")
    added.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at once")
    added.add_argument("--no-trial", action="store_true", help="no estimate: try no training")


def plan(args: argparse.Namespace) -> int:
    """Print which stages, or parts of a sweep or study, are done, resume or would run, and an estimate of time, memory and disk.

    For the estimate each distinct training runs for a few steps. Returns 0. Raises ``UserError`` where the options exclude each
    other, or there is no such stage, sweep or study.
    """
    from stepladder import project, stages
    from stepladder.data import source
    from stepladder.errors import UserError
    from stepladder.params import load
    from stepladder.planning import estimate, work
    from stepladder.sweeps.child import Places

    if args.stages and (args.sweep or args.study):
        raise UserError("Stages are named together with --sweep or --study; name stages, a sweep or a study.")
    if args.jobs < 1:
        raise UserError(f"--jobs {args.jobs} given; give the number of trainings at once, 1 or more.")
    params = load()
    stages.check(project.root())
    for line in source.refresh(params):
        print(line)
    places = Places(IMAGES, TEXT, FEATURE_NET)
    if args.sweep:
        pieces = work.of_sweep(args.sweep, places)
    elif args.study:
        pieces = work.of_study(args.study, places)
    else:
        pieces = work.of_stages(args.stages, places)
    costs = None if args.no_trial else estimate.estimate(pieces, lambda line: print(line, flush=True))
    print(*estimate.summary(pieces, costs, args.jobs), sep="\n")
    return 0
