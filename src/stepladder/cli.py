"""``stepladder ...``: brings the verbs of ``commands/`` together; importing it imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import sys

import stepladder
from stepladder.commands import (
    Function,
    adaptation,
    drawing,
    judging,
    language,
    planning,
    project,
    registry,
    serving,
    stages,
    studies,
    sweeps,
)
from stepladder.errors import UserError

EXTRAS = {
    **dict.fromkeys(("dvc", "fastapi", "mlflow", "optuna", "prefect", "psutil", "uvicorn"), "pipeline"),
    "ctranslate2": "serving",
}
"""What training and judging do without, and the extra of the package that brings it."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="stepladder", description="Reproducible training of Transformers and diffusion models."
    )
    top.add_argument("--version", action="version", version=f"stepladder {stepladder.__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, function: Function, help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help)
        added.set_defaults(function=function)
        return added

    for subject in (
        stages,
        adaptation,
        drawing,
        language,
        judging,
        studies,
        sweeps,
        planning,
        registry,
        serving,
        project,
    ):
        subject.add(verb)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit code: 0, or 2 with one sentence for what the user can mend."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    args = parser().parse_args(argv)
    try:
        return args.function(args)
    except UserError as error:
        print(f"stepladder: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        print(
            f"stepladder: {args.verb} needs {missing}, which is not installed; `pip install 'stepladder[{EXTRAS[missing]}]'` brings it.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the answers has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
