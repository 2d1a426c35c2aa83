"""Look into language models and pass them on: attention, comparison, export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stepladder.commands import Verb
from stepladder.commands.places import TRANSFORMER
from stepladder.errors import UserError


def add(verb: Verb) -> None:
    """Add the verbs that look into language models to the command line: ``better``, ``attention`` and ``export``."""
    added = verb("better", better, "is B better than A? two evaluations of the same held-out text, compared")
    added.add_argument("a", type=Path, metavar="A", help="folder of an evaluation, such as reports/transformer")
    added.add_argument("b", type=Path, metavar="B")
    added.add_argument("--resamples", type=int, default=1000)
    added.add_argument("--confidence", type=float, default=0.95, help="of the intervals")
    added.add_argument("--seed", type=int, default=0)
    added = verb("attention", attention, "draw what a language model attends to while it reads a text")
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--text", required=True)
    added.add_argument("--target", help="translation that is read with it; default: the model's own")
    added.add_argument("--language", help="target language, where the model knows several")
    added.add_argument("--kind", choices=["encoder", "decoder", "cross"], help="default: cross, decoder or encoder")
    added.add_argument("--layer", type=int, help="from 1; default: all")
    added.add_argument("--head", type=int, help="from 1; default: all")
    added.add_argument("--out", type=Path, default=Path("attention.png"))
    added = verb("export", export, "write a translation model in another format, for serving")
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")
    added.add_argument("--to", choices=["ctranslate2"], default="ctranslate2")
    added.add_argument("--out", type=Path, required=True, help="folder, which must not be there yet")


def better(args: argparse.Namespace) -> int:
    """Print the figures of two evaluations, their difference B - A with its interval, and the p-value of each. Returns 0.

    Raises ``UserError`` where the two are not of the same held-out text, or the options are out of range.
    """
    from stepladder.evaluation.better import better

    if args.resamples < 10 or not 0 < args.confidence < 1:
        raise UserError("--resamples is 10 or more, and --confidence between 0 and 1.")
    differences = better(args.a, args.b, count=args.resamples, confidence=args.confidence, seed=args.seed)
    print(f"{'':28s}{'A':>10s}{'B':>10s}{'B - A':>10s}  {'interval':21s}{'p':>7s}{'B better in':>13s}")
    for d in differences:
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
    """Write a translation model in the format of CTranslate2 into a new folder. Returns 0.

    Raises ``UserError`` where the model translates nothing, or as ``ctranslate2_export.export``.
    """
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.ctranslate2_export import export
    from stepladder.transformer.networks.description import TranslationDescription
    from stepladder.transformer.networks.trained import load

    export(*load(fetch(args.model)[0], TranslationDescription), args.out)
    print(f"{args.out}: a CTranslate2 model, its tokenizer.json, and stepladder.json with what it was trained on")
    return 0


def attention(args: argparse.Namespace) -> int:
    """Draw what a language model attends to in one text, a map for each chosen layer and head, and save it. Returns 0.

    Raises ``UserError`` where the text is empty, the model has no such kind, layer or head, or the file cannot be written.
    """
    from functools import partial

    from stepladder.evaluation.text import pictures
    from stepladder.reporting import attention_figures
    from stepladder.reporting.figure_files import save_one
    from stepladder.text_tasks.tasks import TASKS
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.networks.description import TextDescription
    from stepladder.transformer.networks.trained import load

    folder, settings = fetch(args.model)
    loaded: tuple[Any, Any, TextDescription] = load(folder)
    model, tokenizer, description = loaded
    task, target = TASKS[description.task], args.target
    if task.served and task.model.translates and target is None:
        ((target,),) = task.served.answer(loaded, [args.text], settings, {"language": args.language}).values()
    reading = task.judging.reading(tokenizer, description, args.text, target or "", args.language)
    if not reading[0]:
        raise UserError("--text is empty; give something to read.")
    maps = pictures.described(model, tokenizer, reading)["maps"]
    chosen = args.kind or next(name for name in attention_figures.FIRST if name in maps)
    if chosen not in maps:
        raise UserError(f"--kind {chosen} is not of this model, which has: {', '.join(maps)}.")
    weights = maps[chosen]["weights"]
    for name, most in (("layer", len(weights)), ("head", len(weights[0]))):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            raise UserError(f"--{name} {value} given; the model has {name}s 1 to {most}.")
    draw = partial(attention_figures.maps, maps[chosen] | {"kind": chosen}, args.layer, args.head)
    try:
        save_one(draw, args.out)
    except (OSError, ValueError) as error:
        raise UserError(f"{args.out} cannot be written ({error}); name a file such as attention.png.") from None
    print(f"{args.out}: {attention_figures.NAMES[chosen]}" + (f" while it writes {target!r}" if target else ""))
    return 0
