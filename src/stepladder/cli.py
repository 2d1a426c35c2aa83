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
    evaluation,
    judging,
    language,
    new,
    planning,
    project,
    registry,
    results,
    serving,
    studies,
    sweeps,
    training,
)
from stepladder.errors import UserError

EXTRAS = {
    **dict.fromkeys(
        ("dvc", "dvc_data", "fastapi", "mlflow", "networkx", "optuna", "pandas", "prefect", "psutil", "ruamel", "sqlalchemy",
         "starlette", "uvicorn"), "pipeline",
    ),
    "ctranslate2": "serving",
    **dict.fromkeys(
        ("PIL", "datasets", "filelock", "huggingface_hub", "matplotlib", "numpy", "pycountry", "pydantic", "pydantic_core", "pytorch_lightning",
         "rouge_score", "sacrebleu", "sacremoses", "safetensors", "scipy", "sklearn", "tokenizers", "torch", "yaml"), "",
    ),
}  # fmt: skip
"""Third-party packages, each with the extra of stepladder that installs it; "": stepladder itself installs it."""


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; ``args.function`` is the function of the chosen verb."""
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
        training,
        evaluation,
        results,
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
        new,
    ):
        subject.add(verb)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns its exit code: 0, or 2 with one sentence for an error that the user can fix."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    args = parser().parse_args(argv)
    try:
        if "DVC_ROOT" in os.environ:  # DVC runs this command, after it has compared the code that the project names
            new.check(sys.argv[1:] if argv is None else argv)
        code: int = args.function(args)
        return code
    except UserError as error:
        print(f"stepladder: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        which = f"'stepladder[{EXTRAS[missing]}]'" if EXTRAS[missing] else "stepladder"
        print(
            f"stepladder: {args.verb} needs {missing}, which is not installed; `pip install {which}` brings it.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
