"""Use a trained language model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stepladder.commands import Verb
from stepladder.commands.places import TRANSFORMER
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    added = verb("translate", translate, "translate lines of standard input or of a file")
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--file", type=Path)
    added.add_argument("--language", help="target language, where the model knows several")
    added.add_argument("--beam-size", type=int, help="hypotheses kept; default: the model's")
    added = verb("better", better, "is B better than A? two evaluations of the same held-out text, compared")
    added.add_argument("a", type=Path, metavar="A", help="folder of an evaluation, such as reports/transformer")
    added.add_argument("b", type=Path, metavar="B")
    added.add_argument("--resamples", type=int, default=1000)
    added.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    added.add_argument("--seed", type=int, default=0)


def translate(args: argparse.Namespace) -> int:
    from stepladder.params import Decoding, section
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.trained import load
    from stepladder.transformer.translation import translate

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


def better(args: argparse.Namespace) -> int:
    from stepladder.evaluation.text.better import better

    if args.resamples < 10 or not 0 < args.confidence < 1:
        raise UserError("--resamples is 10 or more, and --confidence between 0 and 1.")
    found = better(args.a, args.b, count=args.resamples, confidence=args.confidence, seed=args.seed)
    print(f"{'':28s}{'A':>10s}{'B':>10s}{'B - A':>10s}  interval{'':13s}{'p':>7s}{'B better in':>13s}")
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
