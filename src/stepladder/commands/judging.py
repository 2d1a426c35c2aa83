"""Look into language models: compare two evaluations."""

from __future__ import annotations

import argparse
from pathlib import Path

from stepladder.commands import Verb
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    added = verb("better", better, "is B better than A? two evaluations of the same held-out text, compared")
    added.add_argument("a", type=Path, metavar="A", help="folder of an evaluation, such as reports/transformer")
    added.add_argument("b", type=Path, metavar="B")
    added.add_argument("--resamples", type=int, default=1000)
    added.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    added.add_argument("--seed", type=int, default=0)


def better(args: argparse.Namespace) -> int:
    from stepladder.evaluation.text.better import better

    if args.resamples < 10 or not 0 < args.confidence < 1:
        raise UserError("--resamples is 10 or more, and --confidence between 0 and 1.")
    found = better(args.a, args.b, count=args.resamples, confidence=args.confidence, seed=args.seed)
    print(f"{'':28s}{'A':>10s}{'B':>10s}{'B - A':>10s}  {'interval':21s}{'p':>7s}{'B better in':>13s}")
    for d in found:
        print(
            f"{d.name:28s}{d.a:10.3f}{d.b:10.3f}{d.b - d.a:10.3f}  {f'{d.low:.3f} to {d.high:.3f}':21s}{d.p:7.3f}"
            f"{100 * d.better:12.1f}%  {d.verdict}"
        )
    print(
        f"Paired bootstrap (Koehn 2004), {args.resamples} resamples of the held-out items, {100 * args.confidence:g}% intervals; "
        "p is two-sided."
    )
    return 0
