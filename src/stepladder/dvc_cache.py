"""Checks that the objects in DVC's cache still match their names, which are hashes: DVC itself restores them unchecked."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import yaml

from stepladder.errors import UserError

DAMAGED = Path(".dvc/tmp/damaged")


class Out(TypedDict, total=False):
    """A result, as ``dvc.lock`` and the listing of a folder name it."""

    md5: str


class Locked(TypedDict, total=False):
    """A stage, as ``dvc.lock`` has it."""

    outs: list[Out]


@dataclass(frozen=True)
class Damaged:
    """An object whose content does not match its name; it is now in ``DAMAGED``.

    Attributes:
        stages: names, for ``dvc repro``, of stages whose lock has it; none where only an experiment or an old commit has it.
    """

    name: str
    stages: tuple[str, ...]


def verify(root: Path) -> tuple[int, list[Damaged]]:
    """Read every object of the cache of the DVC project ``root`` and move damaged ones to ``DAMAGED``, so that none is restored.

    Returns:
        The number of objects, and the damaged ones.

    Raises:
        UserError: ``root`` is no DVC project.
    """
    objects = _place(root) / "files" / "md5"
    files = sorted(file for file in objects.glob("*/*") if file.is_file() and len(file.parent.name) == 2)
    wrong = [file for file in files if _md5(file) != file.parent.name + file.name.removesuffix(".dir")]
    makers = _makers(root, objects)
    damaged = []
    for file in wrong:
        name = file.parent.name + file.name
        (root / DAMAGED).mkdir(parents=True, exist_ok=True)
        shutil.move(file, root / DAMAGED / name)
        damaged.append(Damaged(name, tuple(sorted(makers.get(name, set())))))
    return len(files), damaged


def _place(root: Path) -> Path:
    dvc = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(dvc, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{root} is not a DVC project; run in the project's folder, or `dvc init`.")
    return Path(root, done.stdout.strip().splitlines()[-1])


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest()


def _makers(root: Path, objects: Path) -> dict[str, set[str]]:
    """The stages that make each object which a ``dvc.lock`` of the project names, itself or in a folder's listing."""
    makers: dict[str, set[str]] = {}
    for lock in (root / "dvc.lock", *root.glob("*/dvc.lock"), *root.glob("studies/*/dvc.lock")):
        stages: dict[str, Locked] = (
            yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {}) if lock.exists() else {}
        )
        where = lock.with_name("dvc.yaml").relative_to(root)
        for stage, outs in ((name, entry.get("outs", [])) for name, entry in stages.items()):
            address = stage if where == Path("dvc.yaml") else f"{where}:{stage}"
            for name in (out["md5"] for out in outs if "md5" in out):
                for each in (name, *_listed(objects / name[:2] / name[2:])):
                    makers.setdefault(each, set()).add(address)
    return makers


def _listed(listing: Path) -> list[str]:
    if listing.suffix != ".dir" or not listing.exists():
        return []
    try:
        return [entry["md5"] for entry in json.loads(listing.read_bytes())]
    except (ValueError, KeyError, TypeError):  # it is damaged itself
        return []
