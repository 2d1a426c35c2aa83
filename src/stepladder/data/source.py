"""What prepared data is made of, as DVC watches it; KEY is ``images`` or ``text``.

``data/sources/KEY`` is a symbolic link to the folder or file that the parameters name (one's own, a mirror's set, a package's
files), so that DVC itself looks at what is there; ``data/sources/KEY.json`` says which that is and, of a set of the hub, which
commit; for such a set the link leads to this file. The stage ``source`` makes both, ``prepare`` depends on both.

``data/sources/KEY.code`` has a link to each source file of one's own code that the parameters name, see ``plugins``; of ``diffusion``
and ``sampling`` the stage ``own-code`` makes it, and what trains or draws depends on it.
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
STAGES = ("source", "own-code")  # that only note where something is
PACKAGED = {("images", "digits"): "sklearn/datasets/data/digits.csv.gz", ("text", "names"): "pycountry/locales"}
FILES = (".tsv", ".jsonl", ".txt", ".text", ".md")  # by their name alone texts of one's own
SECONDS = 3.0  # for the hub, where only a newer revision is asked for

Data = ImageData | TextData


@dataclass(frozen=True)
class Located:
    """Where a source is: a folder or file on this machine, or (``path`` is None) the set ``commit`` of the hub, "" unknown."""

    path: Path | None
    commit: str = ""


def local(source: str) -> Path | None:
    """The user's own file or folder that ``source`` names, from here, else from the project's folder, or that of the project
    that this one is a checkout of (``STEPLADDER_ORIGIN``); None: there is none.
    """
    return next((home / source for home in project.homes() if (home / source).exists()), None)


def locate(key: str, data: Data, seconds: float = hub.SECONDS, root: Path = Path()) -> Located:
    """Where what ``data`` names is; what one's own code reads is where ``watch`` has that code for the project in ``root``.

    Raises:
        UserError: it is nowhere, or the hub cannot be asked within ``seconds``.
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
    """Have ``data/sources`` of the project in ``root`` lead to what ``data`` names; returns where that is.

    Raises:
        UserError: as ``locate``, or DVC could not watch it.
    """
    found = locate(key, data, seconds, root)
    place = root / SOURCES / key
    file = place.with_suffix(".json")
    known = {"source": data.source, "config": data.config, "revision": data.revision, "commit": found.commit}
    noted = _noted(file)
    if found.path is None and not found.commit and noted | {"commit": ""} == known:
        known = noted  # nothing may be asked of the hub: what it said last stands
    if found.path:
        watchable(found.path, f"{key}.source")
    target = found.path.resolve() if found.path else Path(f"{key}.json")
    if not place.is_symlink() or place.readlink() != target:
        _replace(place, partial(Path.symlink_to, target=target))
    if noted != known:
        _replace(file, partial(Path.write_text, data=json.dumps(known, indent=2) + "\n", encoding="utf-8"))
    return found


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
    """Have ``data/sources/KEY.code`` of the project in ``root`` lead to the code that ``names`` name; returns that folder."""
    place = root / SOURCES / f"{key}.code"
    wanted = {f"{module}.py": file.resolve() for module, file in plugins.files(names, root).items()}
    there = {link.name: link.readlink() for link in place.glob("*.py") if link.is_symlink()}
    for name in there.keys() - wanted.keys():
        (place / name).unlink()
    for name, target in wanted.items():
        if there.get(name) != target:
            _replace(place / name, partial(Path.symlink_to, target=target))
    text, file = json.dumps(sorted(names)) + "\n", place / "names.json"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        _replace(file, partial(Path.write_text, data=text, encoding="utf-8"))
    return place


def pinned(key: str, data: Data) -> Data:
    """``data`` with the hub's commit as its revision, noted where DVC watches, so that what is noted and what is read are one."""
    commit = (note if Path("dvc.yaml").exists() else locate)(key, data).commit
    return data.model_copy(update={"revision": commit}) if commit else data


def refresh(params: Params, root: Path = Path()) -> list[str]:
    """Note again what DVC cannot look at by itself: where a source is now, and which revision the hub has.

    Returns:
        A line for each source that could not be found; what is noted of it stays.
    """
    if not (root / "dvc.yaml").exists():
        return []
    said = []
    note_code(params, root)
    for key in KEYS:
        try:
            note(key, getattr(params, key), SECONDS, root)
        except UserError as error:
            said.append(f"{key}: {error}")
    return said


def reading(key: str, data: Data) -> Callable[[], str]:
    """To be called before the source is read; what it returns gives, once it was, the fingerprint of what was read: SHA-256
    over names and bytes of its files, for a set of the hub its commit. It raises ``UserError`` where that changed meanwhile.
    """
    found = locate(key, data)
    path = found.path
    if path is None:
        return lambda: found.commit
    before = signature(path)

    def fingerprint() -> str:
        if signature(path) != before:
            raise UserError(
                f"{path} changed while it was being prepared; wait until it is whole, and prepare it again."
            )
        return content(path)

    return fingerprint


def content(path: Path) -> str:
    """SHA-256 over the names and bytes of the files of ``path``, those whose names begin with a dot apart, or of one file.

    It is kept in ``data/sources`` with the state of the files, and read there as long as that is the same.
    """
    state = signature(path)
    known = SOURCES / f".{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    try:
        kept = json.loads(known.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return str(kept["content"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hashlib.sha256()
    for name, file in _files(path):
        with file.open("rb") as stream:
            digest.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    text = json.dumps({"state": state, "content": digest.hexdigest()}) + "\n"
    if Path("dvc.yaml").exists():
        _replace(known, partial(Path.write_text, data=text, encoding="utf-8"))
    return digest.hexdigest()


def signature(path: Path) -> str:
    """Equal as long as no file of ``path`` was written, renamed, added or removed: of names, sizes, times and places."""
    digest = hashlib.sha256()
    for name, file in _files(path):
        s = file.stat()
        digest.update(f"{name}\0{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}\n".encode())
    return digest.hexdigest()


def changed(key: str, data: Data, folder: Path) -> str:
    """Why what is prepared in ``folder`` is not of what ``data`` names now; "" where it is, or where nothing is prepared.

    A source that cannot be found is no change.
    """
    if not (folder / "card.json").exists():
        return ""
    then = read_card(folder).get("source_fingerprint")
    try:
        found = locate(key, data, SECONDS)
        now = content(found.path) if found.path else found.commit
    except (UserError, OSError):
        return ""
    if then is None:
        return f"{folder} was prepared before sources were watched; prepare it again"
    return f"{key}.source={data.source} has changed since {folder} was prepared" if now and now != then else ""


def watchable(path: Path, key: str) -> None:
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


def _noted(file: Path) -> dict[str, str]:
    """What stands in ``file``; {} where nothing does."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Names and places of the files of a folder, or of one file, in the order of the names."""
    if not path.is_dir():
        yield path.name, path
        return
    found = []
    for home, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(home, name) for name in files if not name.startswith(".")]
    yield from sorted((file.relative_to(path).as_posix(), file) for file in found)


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
    """Put what ``make`` writes at a path into ``place``, in one stroke."""
    if place.is_dir() and not place.is_symlink():
        raise UserError(f"{place} is a folder, where stepladder keeps a note of the source; move it away.")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as temporary:
        fresh = Path(temporary) / "new"
        make(fresh)
        os.replace(fresh, place)
