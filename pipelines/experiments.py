"""Runs parameters other than the workspace's in a copy of the project, and keeps the results as a DVC experiment.

The copy is a git clone that shares the project's DVC cache, as ``dvc exp run --temp`` makes one, with two differences:
its stages can run in parallel, and the project's own files are never touched, not even for the moment in which
``dvc exp run`` puts the new parameters into the workspace to stash them.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines import restoring
from pipelines.stages import call
from stepladder import installed
from stepladder.errors import UserError
from stepladder.params import PARAMS_FILE, Params, render


@contextmanager
def copy(root: Path, name: str, params: Params | None = None, commit: str = "") -> Iterator[Path]:
    """A copy of the project in ``root``, at ``commit`` or, without one, in its present state with uncommitted changes;
    ``params``, if any, become its ``params.yaml``.

    It shares the DVC cache and is removed afterwards. Raises ``UserError`` where there is no commit to start from.
    """
    top = _top(root)
    home = root / ".prefect" / "copies"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{name}-{os.getpid()}-{time.time_ns()}"
    with (home / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_abandoned(home)
        try:
            changes = "" if commit else _uncommitted(top, home / f"{folder.name}.index")
            _git(top, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(folder))
            _git(folder, "checkout", "--quiet", "--detach", commit or _git(top, "rev-parse", "HEAD"))
            if changes:
                _git(folder, "read-tree", "--reset", "-u", changes)
                _git(folder, "reset", "--quiet")
            workspace = folder / root.relative_to(top)
            if (root / "dvc.lock").exists() and not (workspace / "dvc.lock").exists():
                shutil.copy(root / "dvc.lock", workspace / "dvc.lock")
            _share_cache(root, workspace)
            if installed.is_made(root):
                installed.link(workspace)
            if params is not None:
                (workspace / PARAMS_FILE).write_text(render(params), encoding="utf-8")
            yield workspace
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (home / f"{folder.name}.lock").unlink(missing_ok=True)


def free_name(root: Path, wanted: str) -> str:
    """``wanted`` as a valid name for a DVC experiment of ``root``, with a number where that name is taken."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-") or "flow-run"
    taken = {ref.rpartition("/")[2] for ref in _refs(_top(root))}
    return next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def commit(root: Path, experiment: str) -> str:
    """The commit of DVC's experiment ``experiment``; raises ``UserError`` where there is none of that name."""
    top = _top(root)
    refs = {ref.rpartition("/")[2]: ref for ref in _refs(top)}
    if experiment not in refs:
        raise UserError(f"There is no DVC experiment {experiment!r}; there are: {', '.join(sorted(refs)) or 'none'}.")
    return _git(top, "rev-parse", refs[experiment])


def keep(
    root: Path, workspace: Path, name: str, ran: Iterable[str], restored: Iterable[str], log: Callable[[str], None]
) -> None:
    """Keep the copy ``workspace`` as experiment ``name`` of the project in ``root``, with the results of the stages that ``ran``
    or were ``restored`` with the same parameters. Figures of all other stages, which came with the copy, are left out.
    """
    restoring.disown(workspace, {*ran, *restored})
    code, errors = call(["dvc", "exp", "save", "--name", name, *ran], folder=workspace, environment={}, log=log)
    if code:
        raise RuntimeError(f"DVC did not save the experiment {name}: {(errors or ['no word why'])[-1]}")
    (ref,) = [ref for ref in _refs(workspace) if ref.endswith(f"/{name}")]
    _git(_top(root), "fetch", "--quiet", str(_top(workspace)), f"{ref}:{ref}")


def _refs(folder: Path) -> list[str]:
    return _git(folder, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").splitlines()


def _uncommitted(top: Path, index: Path) -> str:
    """A commit with the uncommitted changes of tracked files, "" where there are none.

    It works on ``index``, a copy of git's own, whose lock another flow run, or a person, may hold, and refreshes it first:
    ``git stash create`` fails without a word where a file's time, but not its content, has changed.
    """
    shutil.copy(top / _git(top, "rev-parse", "--git-path", "index"), index)
    environment = {"GIT_INDEX_FILE": str(index)}
    try:
        _git(top, "update-index", "-q", "--refresh", environment=environment, fine=(0, 1))
        return _git(top, "stash", "create", environment=environment)
    finally:
        index.unlink(missing_ok=True)


def _share_cache(root: Path, workspace: Path) -> None:
    from dvc.repo import Repo

    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, workspace / ".dvc" / "config.local")
    with Repo(str(root)) as main, Repo(str(workspace)) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = main.cache.local_cache_dir


def _remove_abandoned(home: Path) -> None:
    """Remove copies whose flow run was killed: no process holds their lock."""
    for lock in home.glob("*.lock"):
        with suppress(BlockingIOError, FileNotFoundError), lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = lock.with_suffix("")
            if folder.exists():
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)


def _top(folder: Path) -> Path:
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    except (OSError, RuntimeError):
        raise UserError(
            f"Other parameters than those of {PARAMS_FILE} run as a DVC experiment, which starts from a git commit, and "
            f"{folder} has none; run `git init`, `git add .` and `git commit`, or put the values into {PARAMS_FILE}."
        ) from None
    return Path(top)


def _git(folder: Path, *arguments: str, environment: dict[str, str] | None = None, fine: tuple[int, ...] = (0,)) -> str:
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, timeout=300)
    if result.returncode not in fine:
        raise RuntimeError(f"git {arguments[0]} failed in {folder}: {result.stderr.strip()}")
    return result.stdout.strip()
