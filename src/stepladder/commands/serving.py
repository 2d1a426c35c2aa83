"""Serve trained models: predictions for complete files, and a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from stepladder.commands import Verb
from stepladder.commands.places import MODELS

MODEL = "folder of a model, or models:/NAME@ALIAS"


def add(verb: Verb) -> None:
    """Add the verbs that put a model to use to the command line: ``predict`` and ``serve``."""
    added = verb("predict", predict, "translate a file of sentences, or draw a table of labels, resumably")
    added.add_argument(
        "source", type=Path, help=".txt, a sentence a line; .csv with label or text; or a folder of such"
    )
    added.add_argument("--model", required=True, help=MODEL)
    added.add_argument("--out", type=Path, required=True, help="file of translations, or folder")
    added.add_argument("--chunk", type=int, default=256, help="rows answered, and kept, at once")
    added.add_argument("--steps", type=int, help="sampling steps S; default: the model's")
    added.add_argument("--sampler", help="default: the model's")
    added.add_argument("--scale", type=float, help="guidance scale; default: the model's")
    added.add_argument("--seed", type=int, default=0, help="of all pictures")
    added.add_argument("--beam-size", type=int, help="hypotheses kept; default: the model's")
    added.add_argument("--language", help="target language, where the model knows several")
    added = verb("serve", serve, "a page on which to draw at different S side by side, and to translate")
    added.add_argument("--model", action="append", default=[], help=f"{MODEL}; may be repeated; default: all champions")
    added.add_argument("--port", type=int, default=8000, help="0: any that is free")
    added.add_argument("--host", default="127.0.0.1", help="default: this machine only")


def predict(args: argparse.Namespace) -> int:
    """Answer every row of a file, or of the files of a folder, in parts: run again, it goes on after the last part. Returns 0.

    Raises ``UserError`` where the model or the source cannot be read, or an option is not of this kind of model.
    """
    from stepladder.serving import batch

    options = batch.Options(args.steps, args.sampler, args.scale, args.seed, args.beam_size, args.language)

    def progress(done: int, count: int) -> None:
        print(f"{done} of {count} rows", flush=True)

    batch.predict(args.model, args.source, args.out, options, chunk=args.chunk, progress=progress)
    return 0


def serve(args: argparse.Namespace) -> int:
    """Serve the page with the models until it is ended, then return 0. Raises ``UserError`` as ``serving.run.serve``."""
    from stepladder.serving.run import serve

    serve(args.model, MODELS, args.host, args.port, lambda line: print(line, flush=True))
    return 0
