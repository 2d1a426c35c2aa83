"""``stepladder new`` makes a project outside of the repository; ``stepladder link`` links it to the installed code."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stepladder import installed
from stepladder.commands import Verb
from stepladder.errors import UserError

README = installed.HOME / "project_readme.md"
IGNORED = "# Links to the installed package: `stepladder link` makes them.\n" + "".join(
    f"/{place}\n" for place in installed.LINKED
)


def add(verb: Verb) -> None:
    """Add ``new`` and ``link``."""
    added = verb("new", new, "make a project: parameters, presets, stages, flows")
    added.add_argument("folder", type=Path, metavar="FOLDER", help="empty, or not there yet")
    added.add_argument("--preset", default="", help="its parameters: the defaults with this preset laid over them")
    added.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one parameter")
    verb("link", link, "let the project here watch and run this stepladder, as after an upgrade")


def new(args: argparse.Namespace) -> int:
    """Make a project in an empty folder, and say what was done.

    Raises:
        UserError: the folder is not empty or cannot be written to, or the parameters are not valid; nothing is changed then,
            unless writing failed half-way.
    """
    from stepladder.params import PARAMS_FILE, parse_overrides, render, resolve

    folder: Path = args.folder
    try:
        if folder.exists() and any(inner.name != ".git" for inner in folder.iterdir()):
            raise UserError(f"{folder} is not empty; name a folder that is, or that is not there yet.")
        params = resolve(args.preset, parse_overrides(args.set), path=folder / PARAMS_FILE, may_be_absent=True).params
        home, names = installed.template(), installed.files()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home / name, folder / name)
        with (folder / ".gitignore").open("a", encoding="utf-8") as file:
            file.write(IGNORED)
        (folder / PARAMS_FILE).write_text(render(params), encoding="utf-8")
        shutil.copyfile(README, folder / "README.md")
        installed.link(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be made a project: {error.strerror or error}.") from None
    print(
        f"{folder}: {len(names) + 2} files, with DVC set up; {installed.SOURCE} and {installed.FLOWS} lead to {installed.HOME}."
    )
    print(_git(folder))
    print(
        f"Next: cd {shlex.quote(str(folder))}; stepladder plan says what would run, dvc repro runs it; README.md has the rest."
    )
    return 0


def _git(folder: Path) -> str:
    """Make the project a git repository unless it is in one; without git, configure DVC for that. Returns a sentence."""
    if shutil.which("git") is None:
        with (folder / ".dvc" / "config").open("a", encoding="utf-8") as file:
            file.write("    no_scm = true\n")
        return (
            "git is not installed: `dvc repro` does without (core.no_scm in .dvc/config), experiments and flows do not."
        )
    repository = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
    )
    if repository.returncode == 0:
        return f"It is in the git repository {repository.stdout.strip()}; nothing was committed."
    subprocess.run(["git", "-C", str(folder), "init", "--quiet"], capture_output=True, check=False)
    return "It is a new git repository (git init); nothing was committed: git add . && git commit -m start."


def link(args: argparse.Namespace) -> int:
    """Link the project to this installation, and write into its graphs the code that their stages now run.

    Raises:
        UserError: there is no project here, or it has code of its own.
    """
    from stepladder import project, stages

    root = project.root().resolve()
    if not (root / "dvc.yaml").exists():
        raise UserError(f"{root} is no project; run in a project's folder, or make one: `stepladder new FOLDER`.")
    installed.link(root)
    print(f"{installed.SOURCE} and {installed.FLOWS} lead to {installed.HOME}.")
    for graph in stages.graphs(root):
        if names := list(stages.differing(graph)):
            stages.write(graph)
            print(f"{graph.relative_to(root)}: what {', '.join(names)} run{'s' * (len(names) == 1)} was written anew.")
    for command in stages.lacking(root / "dvc.yaml"):
        print(
            f"dvc.yaml has no stage for `{command}`, which this version has; see {installed.template() / 'dvc.yaml'}."
        )
    return 0


def check(words: Sequence[str]) -> None:
    """Check, before DVC runs ``stepladder WORDS`` in this folder, that the code which DVC compared is the code that runs.

    Raises:
        UserError: the project is linked to another installation, or the stage's dependencies are not the code that it runs.
    """
    if not installed.is_made(Path()):
        return
    installed.check(Path())
    from stepladder import stages

    command = shlex.join(["stepladder", *words])
    try:
        stages.of_command(command)
    except KeyError:
        return  # a study's command, whose graph is checked elsewhere, or none of a graph
    stages.check(Path(), command)
