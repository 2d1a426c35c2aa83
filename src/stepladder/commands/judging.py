"""Look into language models and pass them on: attention, comparison, export."""

from __future__ import annotations

import argparse
from pathlib import Path

from stepladder.commands import Verb
from stepladder.commands.places import TRANSFORMER
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    added = verb("better", better, "is B better than A? two evaluations of the same held-out text, compared")
    added.add_argument("a", type=Path, metavar="A", help="folder of an evaluation, such as reports/transformer")
    added.add_argument("b", type=Path, metavar="B")
    added.add_argument("--resamples", type=int, default=1000)
    added.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    added.add_argument("--seed", type=int, default=0)
    added = verb("export", export, "write a translation model in another format, for serving")
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--to", choices=["ctranslate2"], default="ctranslate2")
    added.add_argument("--out", type=Path, required=True, help="folder, which must not be there yet")


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


def export(args: argparse.Namespace) -> int:
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.ctranslate2_export import export
    from stepladder.transformer.trained import load

    export(*load(fetch(args.model)[0], task="pairs"), args.out)
    print(f"{args.out}: a CTranslate2 model, its tokenizer.json, and stepladder.json with what it was trained on")
    return 0
