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
