"""When, where and how many at once: Prefect flows over the stages that ``dvc.yaml`` declares."""

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
    """Each flow's name, and the module it is in: what ``prefect.yaml`` deploys."""
    listed = yaml.safe_load(Path(__file__).resolve().parents[1].joinpath("prefect.yaml").read_text(encoding="utf-8"))
    entrypoints = [one["entrypoint"].partition(":") for one in listed["deployments"]]
    return {flow: file.removesuffix(".py").replace("/", ".") for file, _, flow in entrypoints}
