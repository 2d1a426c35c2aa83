"""A clean checkout of the project as it was when a model was trained: its commit, what was uncommitted, its parameters, its data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stepladder import installed, lineage, project
from stepladder.errors import UserError

Log = Callable[[str], None]


@dataclass(frozen=True)
class Checkout:
    """The project in ``folder``, with its own store, checkpoints and reports; ``origin`` is the lineage it was made from."""

    folder: Path
    environment: dict[str, str]
    log: Log

    def stepladder(self, *arguments: str) -> None:
        """Run a verb of that checkout's code; raises ``UserError`` with its last line of output where it fails."""
        self._run([sys.executable, "-m", "stepladder", *arguments])

    def restore(self, kind: str, content_hash: str) -> None:
        """Bring the prepared data ``data/KIND`` into place: from DVC's cache, its remote, or by preparing it again.

        Raises:
            UserError: none of these gives the data with this ``content_hash``.
        """
        target = f"data/{kind}"
        for words, dvc in (("DVC's cache", "checkout"), ("DVC's remote", "pull")):
            if self.fetched(dvc, target) and self._hash(kind) == content_hash:
                self.log(f"data: {target} from {words}")
                return
        self.log(f"data: {target} is prepared again")
        shutil.rmtree(self.folder / target, ignore_errors=True)
        self.stepladder("prepare", kind)
        if (actual := self._hash(kind)) != content_hash:
            raise UserError(
                f"The data of that training (content {content_hash[:16]}) is neither in DVC's cache nor in its remote, and "
                f"preparing it again gives other data (content {actual[:16]}): its source has changed; bring back the cache or the remote."
            )

    def fetched(self, dvc: str, target: str) -> bool:
        """Whether ``dvc checkout`` or ``dvc pull`` brought ``target``, a stage's output, into place."""
        if not (self.folder / "dvc.lock").exists():
            return False
        command = [sys.executable, "-m", "dvc", dvc, "--force", target]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        return done.returncode == 0 and (self.folder / target).exists()

    def _hash(self, kind: str) -> str:
        try:
            card = json.loads((self.folder / "data" / kind / "card.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return str(card.get("content_hash", ""))

    def _run(self, command: list[str]) -> None:
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        last = ""
        try:
            for line in process.stdout:
                last = line.strip() or last
                self.log(line.rstrip())
            code = process.wait()
        finally:
            process.terminate()
        if code:
            verb = " ".join(command[3:])
            raise UserError(f"`stepladder {verb}` in {self.folder} failed: {last.removeprefix('stepladder: ')}")


def make(commit: str, origin: Path, folder: Path, log: Log) -> Checkout:
    """The project at ``commit`` in ``folder``, with the changes, parameters and ``dvc.lock`` of the lineage in ``origin``.

    It is a git clone that shares objects and DVC's cache with this project and changes nothing in it. A clone that an
    earlier call began in ``folder`` is continued.

    Raises:
        UserError: this is no git repository or lacks the commit, ``folder`` holds something else, or the changes do not apply.
    """
    root = project.root().resolve()
    top = Path(_git(root, "rev-parse", "--show-toplevel", why="this project is not in a git repository"))
    _git(
        top, "cat-file", "-e", f"{commit}^{{commit}}",
        why=f"the commit {commit[:12]} of that training is not in this repository; fetch it (`git fetch --all`), or go to the clone that has it",
    )  # fmt: skip
    workspace = folder / root.relative_to(top)
    if not (folder / ".git").exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} exists and is not empty; remove it, or name another folder with --out.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _git(top, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(folder), why="it cannot be cloned")
        _git(folder, "checkout", "--quiet", "--detach", commit, why="the commit cannot be checked out")
        if (origin / lineage.DIFF).exists():
            changes = str((origin / lineage.DIFF).resolve())
            _git(folder, "apply", "--binary", changes, why="what was uncommitted then does not apply")
    elif _git(folder, "rev-parse", "HEAD", why="it is damaged") != commit:
        raise UserError(
            f"{folder} holds another commit than {commit[:12]}; remove it, or name another folder with --out."
        )
    for name in (lineage.PARAMS, lineage.LOCK):
        if (origin / name).exists():
            shutil.copyfile(origin / name, workspace / name)
    _share_cache(root, workspace)
    if installed.is_made(root):
        installed.link(workspace)
    return Checkout(workspace, _environment(root, workspace, origin), log)


def _environment(root: Path, workspace: Path, origin: Path) -> dict[str, str]:
    """Environment variables: the workspace's code, its own store, as many threads and ranks as the first training had."""
    then = json.loads((origin / lineage.ENVIRONMENT).read_text(encoding="utf-8"))
    kept = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", lineage.FLOW_RUN)}
    code = os.pathsep.join(filter(None, [str(workspace / "src"), os.environ.get("PYTHONPATH", "")]))
    return kept | {
        "PYTHONPATH": code, project.ORIGIN: str(root), "STEPLADDER_TRACKING": "journal", "STEPLADDER_DEVICES": str(then["world_size"]),
        "OMP_NUM_THREADS": str(then["threads"]), "DVC_NO_ANALYTICS": "1",
    }  # fmt: skip


def _share_cache(root: Path, workspace: Path) -> None:
    """Let the workspace use this project's DVC cache and remote."""
    if not (workspace / ".dvc").is_dir() or not (root / ".dvc").is_dir():
        return
    if (root / ".dvc" / "config.local").exists():
        shutil.copyfile(root / ".dvc" / "config.local", workspace / ".dvc" / "config.local")
    dvc = [sys.executable, "-m", "dvc", "cache", "dir"]
    folders = subprocess.run(dvc, cwd=root, capture_output=True, text=True).stdout.strip().splitlines()
    if folders:
        subprocess.run([*dvc, "--local", folders[-1]], cwd=workspace, capture_output=True)


def _git(folder: Path, *arguments: str, why: str) -> str:
    """The output of git; raises ``UserError`` with ``why`` where it fails."""
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    if done.returncode:
        log = done.stderr.strip().splitlines()
        raise UserError(f"The model cannot be reproduced in {folder}: {why}{f' ({log[-1][:200]})' if log else ''}.")
    return done.stdout.strip()
