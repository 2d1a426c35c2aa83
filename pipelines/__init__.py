"""Prefect flows over the stages that ``dvc.yaml`` declares: they decide when, where and how many run at once."""

import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

_lacking = [name for name in ("prefect", "dvc", "psutil") if find_spec(name) is None]
if _lacking:
    print(
        f"The flows need {', '.join(_lacking)}; `pip install 'stepladder[pipeline]'` brings what they need.",
        file=sys.stderr,
    )
    raise SystemExit(2)


def deployed() -> dict[str, str]:
    """The flows that ``prefect.yaml`` deploys: the name of each, and its module."""
    listed = yaml.safe_load(Path(__file__).resolve().parents[1].joinpath("prefect.yaml").read_text(encoding="utf-8"))
    entrypoints = [one["entrypoint"].partition(":") for one in listed["deployments"]]
    return {flow: file.removesuffix(".py").replace("/", ".") for file, _, flow in entrypoints}
