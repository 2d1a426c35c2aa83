"""The installed package as projects use it: the files of a new project, and its links to the code.

A project outside of the repository holds no code. Its ``src/stepladder`` is a link to the installed package, so that DVC hashes
the files that run, under the same names as in the repository.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from stepladder.errors import UserError

HOME = Path(__file__).resolve().parent
TEMPLATE = HOME / "template"  # as setup.py has it
SOURCE = Path("src/stepladder")
FLOWS = Path("pipelines")
LINKED = (SOURCE, FLOWS)


def template() -> Path:
    """The folder with the files of a new project: in a wheel one of the package, in a checkout the repository.

    Raises:
        UserError: there is neither.
    """
    for folder in (TEMPLATE, HOME.parents[1]):
        if (folder / "dvc.yaml").exists():
            return folder
    raise UserError(
        f"The stepladder of {HOME} came without the files of a project; install it as a wheel or from a clone."
    )


def files() -> list[Path]:
    """The files of a new project, relative to ``template()``, without the flows, which are linked. Raises as ``template``."""
    home = template()
    if home == TEMPLATE:
        paths = [path for path in home.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    else:
        declared = tomllib.loads((home / "pyproject.toml").read_text(encoding="utf-8"))
        patterns = declared["tool"]["stepladder"]["project"]
        paths = [path for pattern in patterns for path in home.glob(pattern) if path.is_file()]
    names = sorted({path.relative_to(home) for path in paths})
    return [name for name in names if FLOWS not in name.parents]


def is_made(root: Path) -> bool:
    """Whether the project in ``root`` runs an installed package instead of its own code."""
    if (root / SOURCE).is_symlink():
        return True
    graph = root / "dvc.yaml"
    return not (root / SOURCE).exists() and graph.exists() and f"{SOURCE}/" in graph.read_text(encoding="utf-8")


def link(root: Path) -> None:
    """Link the project in ``root`` to this installation.

    Raises:
        UserError: it has its own code there, as a clone of the repository has.
    """
    for place in LINKED:
        if (root / place).exists() and not (root / place).is_symlink():
            raise UserError(f"{root / place} is no link: this project has code of its own, and runs that.")
    for place, target in zip(LINKED, (_code(), _flows()), strict=True):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        fresh = root / place.with_name(f".{place.name}-{os.getpid()}")
        fresh.symlink_to(target)
        fresh.replace(root / place)


def check(root: Path) -> None:
    """Raise ``UserError`` where the project in ``root`` is linked to another installation than this one, or to none."""
    place = root / SOURCE
    if not is_made(root):
        return
    if not place.exists():  # first, since resolving a broken link gives a path that does not exist
        raise UserError(
            f"{SOURCE} leads to no stepladder (was another version installed?); `stepladder link` mends it."
        )
    if place.resolve() != HOME:
        raise UserError(
            f"{SOURCE} leads to {place.resolve()}, and this is the stepladder of {HOME}; run the former, or `stepladder link`."
        )


def pip(root: Path) -> str:
    """The command that installs all that the project in ``root`` can use."""
    if (root / "constraints.txt").exists():
        return "pip install -c constraints.txt -e '.[pipeline]'"
    return "pip install 'stepladder[pipeline]'"


def pages(root: Path) -> str:
    """The command that starts the pages of Prefect and MLflow for the project in ``root``."""
    return "make ui" if (root / "Makefile").exists() else "python -m pipelines.serve"


def _code() -> Path:
    """The package, through the folder that pip names after the version: another version, perhaps with other files, breaks the
    link, so that DVC finds nothing up to date before ``stepladder link`` has run.
    """
    versions = list(HOME.parent.glob("stepladder-*.dist-info"))
    return versions[0] / os.pardir / HOME.name if len(versions) == 1 else HOME


def _flows() -> Path:
    home = template()
    return _code() / TEMPLATE.name / FLOWS if home == TEMPLATE else home / FLOWS
