"""The sources that data is prepared from, as DVC watches them; KEY is ``images`` or ``text``.

``data/sources/KEY`` is a symbolic link to the folder or file that the parameters name (the user's, a mirror's data set, a
package's files), so that DVC itself looks at the files. ``data/sources/KEY.json`` says which source that is and, of a data
set of the hub, which commit; there the link leads to this file. The stage ``source`` makes both, ``prepare`` depends on both.

``data/sources/KEY.code`` has a link to each source file of custom code that the parameters name, see ``plugins``. For
``diffusion`` and ``sampling`` the stage ``own-code`` makes these links, and what trains or samples depends on them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stepladder import plugins, project
from stepladder.data import hub
from stepladder.data.card import read_card
from stepladder.errors import UserError
from stepladder.params import ImageData, Params, TextData
from stepladder.params.data import NONE

SOURCES = Path("data/sources")
KEYS = ("images", "text")
STAGES = ("source", "own-code")  # which only record where something is
PACKAGED = {("images", "digits"): "sklearn/datasets/data/digits.csv.gz", ("text", "names"): "pycountry/locales"}
FILES = (".tsv", ".jsonl", ".txt", ".text", ".md")  # a text source with such a suffix is the user's file
SECONDS = 3.0  # to wait for the hub where only a newer revision is looked for

Data = ImageData | TextData


@dataclass(frozen=True)
class Located:
    """Where a source is: a folder or file on this machine or, where ``path`` is None, the hub at ``commit`` ("": unknown)."""

    path: Path | None
    commit: str = ""


def local(source: str) -> Path | None:
    """The user's own file or folder that ``source`` names, from here, else from the project's folder, or that of the project
    that this one is a checkout of (``STEPLADDER_ORIGIN``); None: there is none.
    """
    return next((home / source for home in project.homes() if (home / source).exists()), None)


def locate(key: str, data: Data, seconds: float = hub.SECONDS, root: Path = Path()) -> Located:
    """Where the source that ``data`` names is; for custom code, where ``watch`` links it for the project in ``root``.

    Raises:
        UserError: there is no such source, or the hub cannot be asked within ``seconds``.
    """
    if data.source == NONE:
        return Located(None)
    packaged = PACKAGED.get((key, data.source))
    own = None if packaged else local(data.source)
    if own is None and key == "images" and plugins.is_custom(data.source):
        return Located(watch(key, [data.source], root))
    if packaged or own or (key == "text" and Path(data.source).suffix in FILES):
        if data.revision:
            raise UserError(f"{key}.revision={data.revision}: only sets of the hub have revisions, and {key}.source="
                            f"{data.source} is none; leave it empty.")  # fmt: skip
        if packaged:
            return Located(_installed(packaged))
        if own is None:
            raise UserError(f"{data.source} cannot be read (No such file or directory); {key}.source must name a file.")
        return Located(own)
    mirrored = hub.mirrored(data.source)
    if mirrored is None:
        return Located(None, hub.commit(data.source, data.revision, seconds))
    if data.revision:
        raise UserError(f"{key}.revision={data.revision}: {hub.MIRROR} holds one revision of {data.source}, whichever it is; "
                        f"leave it empty, or unset {hub.MIRROR}.")  # fmt: skip
    return Located(mirrored)


def note(key: str, data: Data, seconds: float = hub.SECONDS, root: Path = Path()) -> Located:
    """Make ``data/sources`` of the project in ``root`` lead to the source that ``data`` names; returns where that is.

    Raises:
        UserError: as ``locate``, or DVC could not watch it.
    """
    located = locate(key, data, seconds, root)
    link = root / SOURCES / key
    file = link.with_suffix(".json")
    record = {"source": data.source, "config": data.config, "revision": data.revision, "commit": located.commit}
    recorded = _read_record(file)
    if located.path is None and not located.commit and recorded | {"commit": ""} == record:
        record = recorded  # the hub may not be asked: its last answer stays
    if located.path:
        check_watchable(located.path, f"{key}.source")
    target = located.path.resolve() if located.path else Path(f"{key}.json")
    if not link.is_symlink() or link.readlink() != target:
        _replace(link, partial(Path.symlink_to, target=target))
    if recorded != record:
        _replace(file, partial(Path.write_text, data=json.dumps(record, indent=2) + "\n", encoding="utf-8"))
    return located


def note_images(params: Params) -> None:
    """``note`` of the pictures."""
    note("images", params.images)


def note_text(params: Params) -> None:
    """``note`` of the text."""
    note("text", params.text)


def note_code(params: Params, root: Path = Path()) -> None:
    """``watch`` what trains and what draws."""
    learned = (params.diffusion.process, params.diffusion.schedule, params.diffusion.backbone)
    watch("diffusion", [name for name in learned if plugins.is_custom(name)], root)
    watch("sampling", [name for name in (params.sampling.sampler,) if plugins.is_custom(name)], root)


def watch(key: str, names: list[str], root: Path = Path()) -> Path:
    """Make ``data/sources/KEY.code`` of the project in ``root`` link to the code that ``names`` name; returns that folder."""
    folder = root / SOURCES / f"{key}.code"
    wanted = {f"{module}.py": file.resolve() for module, file in plugins.files(names, root).items()}
    existing = {link.name: link.readlink() for link in folder.glob("*.py") if link.is_symlink()}
    for name in existing.keys() - wanted.keys():
        (folder / name).unlink()
    for name, target in wanted.items():
        if existing.get(name) != target:
            _replace(folder / name, partial(Path.symlink_to, target=target))
    text, file = json.dumps(sorted(names)) + "\n", folder / "names.json"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        _replace(file, partial(Path.write_text, data=text, encoding="utf-8"))
    return folder


def pinned(key: str, data: Data) -> Data:
    """``data`` with the hub's commit as its revision, which is also recorded for DVC, so that both are the same."""
    commit = (note if Path("dvc.yaml").exists() else locate)(key, data).commit
    return data.model_copy(update={"revision": commit}) if commit else data


def refresh(params: Params, root: Path = Path()) -> list[str]:
    """Record again what DVC cannot look at by itself: where a source is now, and which revision the hub has.

    Returns:
        A line for each source that could not be found; its record stays.
    """
    if not (root / "dvc.yaml").exists():
        return []
    warnings = []
    note_code(params, root)
    for key in KEYS:
        try:
            note(key, getattr(params, key), SECONDS, root)
        except UserError as error:
            warnings.append(f"{key}: {error}")
    return warnings


def reading(key: str, data: Data) -> Callable[[], str]:
    """Call this before the source is read, and what it returns afterwards. That gives the fingerprint of the source: SHA-256
    over names and bytes of its files, on the hub its commit; it raises ``UserError`` where the source changed meanwhile.
    """
    located = locate(key, data)
    path = located.path
    if path is None:
        return lambda: located.commit
    before = signature(path)

    def fingerprint() -> str:
        if signature(path) != before:
            raise UserError(
                f"{path} changed while it was being prepared; wait until it is whole, and prepare it again."
            )
        return content(path)

    return fingerprint


def content(path: Path) -> str:
    """SHA-256 over the names and bytes of the files of ``path``, except those whose names begin with a dot, or of one file.

    It is kept in ``data/sources`` with the state of the files, and read from there as long as the state is the same.
    """
    state = signature(path)
    cache_file = SOURCES / f".{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        cached = json.loads(cache_file.read_text(encoding="utf-8"))
        if cached["state"] == state:
            return str(cached["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hashlib.sha256()
    for name, file in _files(path):
        with file.open("rb") as stream:
            digest.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    text = json.dumps({"state": state, "content": digest.hexdigest()}) + "\n"
    if Path("dvc.yaml").exists():
        _replace(cache_file, partial(Path.write_text, data=text, encoding="utf-8"))
    return digest.hexdigest()


def signature(path: Path) -> str:
    """A hash of names, sizes, times and inodes: equal until a file of ``path`` is written, renamed, added or removed."""
    digest = hashlib.sha256()
    for name, file in _files(path):
        s = file.stat()
        digest.update(f"{name}\0{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}\n".encode())
    return digest.hexdigest()


def changed(key: str, data: Data, folder: Path) -> str:
    """Why the data in ``folder`` is not of the source as it is now; "" where it is, or where nothing is prepared.

    A source that cannot be found is no change.
    """
    if not (folder / "card.json").exists():
        return ""
    then = read_card(folder).get("source_fingerprint")
    try:
        located = locate(key, data, SECONDS)
        now = content(located.path) if located.path else located.commit
    except (UserError, OSError):
        return ""
    if then is None:
        return f"{folder} was prepared before sources were watched; prepare it again"
    return f"{key}.source={data.source} has changed since {folder} was prepared" if now and now != then else ""


def check_watchable(path: Path, key: str) -> None:
    """Raise ``UserError`` where DVC would not see a change in ``path``: it follows no link to a folder, nor its own files."""
    for home, folders, files in os.walk(path):
        for name in folders:
            inner = Path(home, name)
            if inner.is_symlink() and not name.startswith("."):
                raise UserError(f"{key}={path}: {inner.relative_to(path)} is a link to a folder, in which DVC would see no change; "
                                f"put the folder itself there (or its files as links), or name it in {key}.")  # fmt: skip
            if (inner / ".dvc").is_dir():
                raise UserError(f"{key}={path}: {inner.relative_to(path)} is a DVC project of its own, in which DVC would see no "
                                f"change; name a folder inside it in {key}, or a copy.")  # fmt: skip
        if ".dvcignore" in files or (".dvc" in folders and Path(home) == path):
            raise UserError(f"{key}={path}: {home} holds .dvc or .dvcignore, so that DVC cannot watch it; name a folder inside it, "
                            "or a copy.")  # fmt: skip


def _read_record(file: Path) -> dict[str, str]:
    """The record in ``file``; {} where there is none."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Names and paths of the files of a folder, or of one file, in the order of the names."""
    if not path.is_dir():
        yield path.name, path
        return
    paths = []
    for home, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(home, name) for name in files if not name.startswith(".")]
    yield from sorted((file.relative_to(path).as_posix(), file) for file in paths)


def _installed(file: str) -> Path:
    """A file or folder of an installed package, which is not imported."""
    package, _, inner = file.partition("/")
    spec = importlib.util.find_spec(package)
    homes = list(spec.submodule_search_locations or []) if spec else []
    path = Path(homes[0], inner) if homes else Path(package)
    if not path.exists():
        raise UserError(f"The package {package} has no {inner}; install it again (`make repro` does).")
    return path


def _replace(place: Path, make: Callable[[Path], object]) -> None:
    """Put what ``make`` writes at ``place``, atomically."""
    if place.is_dir() and not place.is_symlink():
        raise UserError(f"{place} is a folder, where stepladder keeps a note of the source; move it away.")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as temporary:
        fresh = Path(temporary) / "new"
        make(fresh)
        os.replace(fresh, place)
