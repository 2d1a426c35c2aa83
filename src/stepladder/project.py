"""Where the project is, and which code runs: the facts that identify a run's origin."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ORIGIN = "STEPLADDER_ORIGIN"


def root() -> Path:
    """The project's folder: DVC's own answer, else the nearest folder up from here with a ``dvc.yaml``, else here.

    DVC sets ``DVC_ROOT`` to the main repository even for a stage of a temporary experiment, which makes the tracking
    store, the checkpoints and the locks one for all.
    """
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").exists()), here)


def homes(here: Path = Path()) -> tuple[Path, ...]:
    """Folders that are searched for a user's files: ``here``, the project's folder, and that of the project which this is a
    checkout of (``STEPLADDER_ORIGIN``).
    """  # fmt: skip
    return here, root(), Path(os.environ.get(ORIGIN, ""))


def checkpoints() -> Path:
    """The folder with the state of unfinished trainings."""
    return root() / ".checkpoints"


@cache
def git_commit() -> str | None:
    """Commit checked out in the current folder; ``None`` outside git."""
    return _git("rev-parse", "HEAD")


@cache
def git_dirty() -> bool:
    """Whether tracked files differ from that commit; ``dvc.lock``, which every stage writes, does not count."""
    return bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock"))


def git_diff(also: Iterable[Path] = ()) -> bytes:
    """The changes since that commit of tracked files, new files under ``src`` and those of ``also``, for ``git apply``;
    without ``dvc.lock``.
    """  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"  # a copy, so that git's index is not changed
        known = _git("rev-parse", "--path-format=absolute", "--git-path", "index")
        if known is None or not Path(known).exists():
            return b""
        shutil.copyfile(known, index)
        environment = os.environ | {"GIT_INDEX_FILE": str(index)}
        fresh = [*(["src"] if Path("src").is_dir() else []), *map(str, also)]
        for arguments in (["add", "-u", "."], *(["add", file] for file in fresh)):
            subprocess.run(["git", *arguments], env=environment, capture_output=True, timeout=60, check=False)
        command = ["git", "diff", "--cached", "--binary", "HEAD", "--", ".", ":!dvc.lock"]
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).stdout


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file, ``None`` where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
