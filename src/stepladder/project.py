"""Where the project is, and which code this is: what a run needs to name its origin."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path


def root() -> Path:
    """The project's folder: DVC's own answer, else the nearest folder up from here with a ``dvc.yaml``, else here.

    DVC sets ``DVC_ROOT`` to the main repository even for a stage of a temporary experiment, which makes the tracking
    store, the checkpoints and the locks one for all.
    """
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").exists()), here)


def checkpoints() -> Path:
    """Where unfinished trainings keep their state."""
    return root() / ".checkpoints"


@cache
def git_commit() -> str | None:
    """Commit checked out in the current folder; ``None`` outside git."""
    return _git("rev-parse", "HEAD")


@cache
def git_dirty() -> bool:
    """Whether tracked files differ from that commit; ``dvc.lock``, which every stage writes, apart."""
    return bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock"))


def git_diff() -> bytes:
    """What tracked files, and new ones under ``src``, have beyond that commit, as ``git apply`` takes it; ``dvc.lock`` apart."""
    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"  # a copy: git's own stays as it is
        known = _git("rev-parse", "--path-format=absolute", "--git-path", "index")
        if known is None or not Path(known).exists():
            return b""
        shutil.copyfile(known, index)
        own = os.environ | {"GIT_INDEX_FILE": str(index)}
        for arguments in (["add", "-u", "."], *([["add", "src"]] if Path("src").is_dir() else [])):
            subprocess.run(["git", *arguments], env=own, capture_output=True, timeout=60, check=False)
        command = ["git", "diff", "--cached", "--binary", "HEAD", "--", ".", ":!dvc.lock"]
        return subprocess.run(command, env=own, capture_output=True, timeout=60, check=False).stdout


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file, ``None`` where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
