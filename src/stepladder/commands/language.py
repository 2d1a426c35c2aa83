"""Use a trained language model: translate, generate, classify."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepladder.commands import Verb
from stepladder.commands.lines import arriving
from stepladder.commands.places import TRANSFORMER
from stepladder.errors import UserError

if TYPE_CHECKING:
    from stepladder.text_tasks.record import Settings

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def add(verb: Verb) -> None:
    """Add the verbs that use a language model to the command line: ``translate``, ``generate`` and ``classify``."""
    added = verb("translate", translate, "translate lines of standard input or of a file")
    _model(added)
    added.add_argument("--file", type=Path, help="one sentence a line; default: standard input")
    added.add_argument("--language", help="target language, where the model knows several")
    added.add_argument("--beam-size", type=int, help="hypotheses kept; default: the model's")
    added.add_argument(
        "--n-best", type=int, metavar="N", help="the N best of each line: number of the line, score, translation"
    )
    added.add_argument("--int8", action="store_true", help="weights and activations as 8-bit integers: faster on a CPU")
    _decoding(added)
    added = verb("generate", generate, "go on with a prompt, by a language model")
    _model(added)
    added.add_argument("--prompt", default="\n", help="what to go on with; default: a line break")
    added.add_argument("--count", type=int, default=1, help="how many times")
    added.add_argument("--length", type=int, help="tokens at most; default: decoding.max_length")
    for name in SAMPLING:
        kind = int if name == "top_k" else float
        added.add_argument(f"--{name.replace('_', '-')}", type=kind, help=f"see decoding.{name}; default: the model's")
    _decoding(added)
    added = verb("classify", classify, "say the class of lines of standard input or of a file")
    _model(added)
    added.add_argument("--file", type=Path, help="one text a line; default: standard input")
    added.add_argument("--top", type=int, default=1, metavar="N", help="the N likeliest classes")


def translate(args: argparse.Namespace) -> int:
    """Print the translation of each line that arrives, in the same order. Returns 0.

    An overlong line is named on standard error and translated as an empty one.
    Raises ``UserError`` where the model translates nothing, does not know the language, or the lines cannot be read.
    """
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.inference import translation
    from stepladder.transformer.networks.description import TranslationDescription
    from stepladder.transformer.networks.trained import load

    folder, settings = fetch(args.model)
    model, tokenizer, description = load(folder, TranslationDescription)
    decoding = _resolved(args, settings, beam_size=args.beam_size)
    translation.tokens(tokenizer, description, [""], args.language)  # refuses a language before a line is read
    if args.n_best is not None:
        translation.n_best(model, tokenizer, description, [], decoding, args.language, count=args.n_best)
    if args.int8:
        from stepladder.transformer.quantisation import int8

        model = int8(model)
    number = 0
    for lines in arriving(args.file, f"{description.source_language}> "):
        for i, ids in enumerate(translation.tokens(tokenizer, description, lines, args.language)):
            if len(ids) > description.max_length:
                _skipped(number + i, translation.too_long(len(ids), description))
                lines[i] = ""
        if args.n_best is None:
            for text in translation.translate(
                model, tokenizer, description, lines, decoding, args.language, seed=args.seed, first=number
            ):
                print(text)
        else:
            for i, hypotheses in enumerate(
                translation.n_best(model, tokenizer, description, lines, decoding, args.language, count=args.n_best)
            ):
                for text, score in hypotheses:
                    print(number + i + 1, f"{score:.4f}", text, sep="\t")
        sys.stdout.flush()
        number += len(lines)
    return 0


def generate(args: argparse.Namespace) -> int:
    """Print texts that a language model continues from a prompt: the first while it is sampled, then the others. Returns 0.

    Raises ``UserError`` where the model is not one of running text, or an option is out of range.
    """
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.inference.generation import generate, generate_stream
    from stepladder.transformer.networks.description import CausalLMDescription
    from stepladder.transformer.networks.trained import load

    if args.count < 1:
        raise UserError(f"--count {args.count} given; it is 1 or more.")
    folder, settings = fetch(args.model)
    model, tokenizer, description = load(folder, CausalLMDescription)
    options = {name: getattr(args, name) for name in SAMPLING} | {"max_length": args.length}
    samples = any(options[name] is not None for name in SAMPLING) or "decoding" not in settings
    decoding = _resolved(args, settings, **options, method="sample" if samples else None)
    if decoding.method == "beam":
        print(args.prompt + generate(model, tokenizer, description, [args.prompt], decoding)[0])
        return 0
    waiting: dict[int, list[str]] = {row: [] for row in range(1, args.count)}
    _begin(args, 0)
    for row, text in generate_stream(
        model, tokenizer, description, args.prompt, decoding, count=args.count, seed=args.seed
    ):
        if row:
            waiting[row].append(text)
        else:
            print(text, end="", flush=True)
    print()
    for row, texts in waiting.items():
        _begin(args, row)
        print("".join(texts))
    return 0


def classify(args: argparse.Namespace) -> int:
    """Print the likeliest classes of each line that arrives, with their probabilities. Returns 0.

    An overlong line is named on standard error and answered with an empty one.
    Raises ``UserError`` where the model is no classifier, has fewer than ``--top`` classes, or the lines cannot be read.
    """
    from stepladder.tracking.fetch import fetch
    from stepladder.transformer.inference.classification import classify, encode, too_long
    from stepladder.transformer.networks.description import TextClassifierDescription
    from stepladder.transformer.networks.trained import load

    model, tokenizer, description = load(fetch(args.model)[0], TextClassifierDescription)
    if not 1 <= args.top <= len(description.classes):
        raise UserError(f"--top {args.top} given; the model knows 1 to {len(description.classes)} classes.")
    number = 0
    for lines in arriving(args.file):
        skipped = set()
        for i, ids in enumerate(encode(tokenizer, lines)):
            if len(ids) > description.max_length:
                _skipped(number + i, too_long(len(ids), description))
                skipped.add(i)
        kept = [line for i, line in enumerate(lines) if i not in skipped]
        likeliest = classify(model, tokenizer, description, kept).topk(args.top)
        answers = iter(zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True))
        for i in range(len(lines)):
            row = [] if i in skipped else zip(*next(answers), strict=True)
            print(*(f"{description.classes[c]}\t{p:.3f}" for p, c in row), sep="\t")
        sys.stdout.flush()
        number += len(lines)
    return 0


def _model(added: argparse.ArgumentParser) -> None:
    added.add_argument("--model", default=str(TRANSFORMER), help="folder of a model, or models:/NAME@ALIAS")


def _decoding(added: argparse.ArgumentParser) -> None:
    added.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    added.add_argument(
        "-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="such as decoding.length_penalty=0.6"
    )


def _resolved(args: argparse.Namespace, settings: Settings, **options: Any) -> Any:
    """The model's settings of decoding, with the command line's options."""
    from stepladder.params import Decoding, merge, override, section

    values: dict[str, Any] = {
        "decoding": {**settings.get("decoding", {}), **{k: v for k, v in options.items() if v is not None}}
    }
    for text in args.set:
        values = merge(values, override(text))
    if further := set(values) - {"decoding"}:
        raise UserError(f"-S {further.pop()}... is not of decoding, which alone can be changed here.")
    return section(Decoding, values["decoding"], "decoding")


def _begin(args: argparse.Namespace, row: int) -> None:
    if args.count > 1:
        print(f"--- {row + 1} of {args.count}")
    print(args.prompt, end="", flush=True)


def _skipped(row: int, why: str) -> None:
    print(f"stepladder: line {row + 1} has {why}", file=sys.stderr, flush=True)
