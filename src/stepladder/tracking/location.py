"""Keeps a SQLite store's artifacts in ``artifacts/`` next to its file, also after the folder was moved.

MLflow keeps absolute locations. The store therefore records in an extra table in which folder it was last used. When it
is in another folder, because the project was copied or moved, every location in the former folder is rewritten in one
transaction, before anything is read or written. ``stepladder doctor --store`` does this for a store of a version without
that table.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from stepladder.errors import UserError

TABLE, ARTIFACTS = "stepladder_home", "artifacts"
PATIENCE = 30.0  # seconds to wait for another process's write
OWNERS = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))  # tables and columns with artifacts
COMING = ".coming"


def check(file: Path) -> None:
    """Raise ``UserError`` where the store names artifacts in another folder and has no record of its own; changes nothing."""
    with _opened(file) as connection:
        if _recorded(connection) is None and (other_homes := _other_homes(connection, file.parent)):
            raise UserError(_other_homes_message(file, other_homes))


def relocate(file: Path) -> None:
    """Make the store at ``file`` name its artifacts in its own folder, and record that folder.

    Raises:
        UserError: it names artifacts elsewhere, and was last used by a version that did not record the folder.
    """
    home_uri = file.parent.as_uri()
    with _opened(file) as connection:
        if _recorded(connection) == home_uri:
            return
        with _transaction(connection):
            before = _recorded(connection)
            if before is None and (other_homes := _other_homes(connection, file.parent)):
                raise UserError(_other_homes_message(file, other_homes))
            _rewrite(connection, {before} if before else set(), home_uri)


def relocate_if_moved(file: Path) -> None:
    """``relocate`` for processes that only read, such as MLflow itself: a store without a recorded folder is left as it is."""
    if not file.is_file():
        return
    with _opened(file) as connection:
        if (_recorded(connection) or file.parent.as_uri()) == file.parent.as_uri():
            return
    relocate(file)


def bring_home(file: Path) -> str:
    """Relocate a store of any version; returns a sentence that says what was done.

    Files of its runs and models in another project's folder, where an older version wrote them after the project was
    copied, are first copied to the store's folder; the other folder is not changed. It can be killed and run again.
    """
    home = file.parent
    with _opened(file) as connection:
        before = _recorded(connection)
        other_homes = _other_homes(connection, home) | ({before} if before else set()) - {home.as_uri()}
        copied = sum(_copy(connection, old, home) for old in sorted(other_homes))
        with _transaction(connection):
            _rewrite(connection, other_homes, home.as_uri())
        lost = sorted(set(_owned(connection, home.as_uri())) - {p.as_uri() for p in _folders(home)})
    places = ", ".join(str(_path(old)) for old in sorted(other_homes))
    message = f"The artifacts of {file} are in {home / ARTIFACTS}"
    if other_homes:
        message += (
            f", where the store names them now instead of in {places}; {copied} files that were only there were copied"
        )
    if lost:
        message += (
            f". Of {len(lost)} runs or models there is no folder, because they kept nothing or because it was not copied along: "
            f"{', '.join(str(_path(each)) for each in lost[:3])}{', ...' if len(lost) > 3 else ''}"
        )
    return f"{message}."


def _other_homes_message(file: Path, other_homes: set[str]) -> str:
    return (
        f"The tracking store {file} names artifacts in {', '.join(str(_path(old)) for old in sorted(other_homes))}, since an older "
        "version used it there; `stepladder doctor --store` makes them its own, in its own folder."
    )


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise UserError(f"The artifacts of the tracking store {file} cannot be located ({error}).") from None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _recorded(connection: sqlite3.Connection) -> str | None:
    """The folder, as a URI, that the store was last used in; ``None`` where it is not recorded."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (TABLE,)).fetchone():
        return None
    row = connection.execute(f"SELECT uri FROM {TABLE}").fetchone()
    return str(row[0]) if row else None


def _other_homes(connection: sqlite3.Connection, home: Path) -> set[str]:
    """Folders other than ``home`` where experiments have artifacts in Stepladder's layout: ``FOLDER/artifacts/NAME``."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return set()
    rows = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments").fetchall()
    homes = set()
    for number, name, location in rows:
        folder, _, last = str(location).rpartition("/")
        is_ours = folder.startswith("file://") and folder.endswith(f"/{ARTIFACTS}")
        if is_ours and url2pathname(last) in (str(name), str(number)):
            homes.add(folder.removesuffix(f"/{ARTIFACTS}"))
    return homes - {home.as_uri()}


def _rewrite(connection: sqlite3.Connection, before: set[str], home_uri: str) -> None:
    """Replace each of ``before`` by ``home_uri`` in every text of every table that is a location of artifacts there."""
    for table, column in _texts(connection):
        for old in before:
            known, new = f"{old}/{ARTIFACTS}", f"{home_uri}/{ARTIFACTS}"
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE "{column}" = ? OR substr("{column}", 1, ?) = ?',
                (new, len(known) + 1, known, len(known) + 1, f"{known}/"),
            )
    connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (uri TEXT NOT NULL)")
    connection.execute(f"DELETE FROM {TABLE}")
    connection.execute(f"INSERT INTO {TABLE} VALUES (?)", (home_uri,))


def _texts(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """(table, column) of every column that holds text."""
    tables = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, str(column))
        for table in tables
        if table != TABLE and not table.startswith("sqlite_")
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall()
        if "CHAR" in kind.upper() or "TEXT" in kind.upper()
    ]


def _owned(connection: sqlite3.Connection, home: str) -> Iterator[str]:
    """The folders within ``home`` that runs and models of this store keep files in."""
    tables = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in OWNERS:
        if table in tables:
            for (location,) in connection.execute(f"SELECT {column} FROM {table} WHERE lifecycle_stage = 'active'"):
                if str(location).startswith(f"{home}/{ARTIFACTS}/"):
                    yield str(location)


def _folders(home: Path) -> Iterator[Path]:
    """Every folder under ``home/artifacts``."""
    for folder, names, _ in os.walk(home / ARTIFACTS):
        yield from (Path(folder) / name for name in names)


def _copy(connection: sqlite3.Connection, old: str, home: Path) -> int:
    """Copy the files of this store's runs and models in ``old`` that are not in ``home``; their number."""
    count = 0
    for location in _owned(connection, old):
        source = _path(location)
        target = home / source.relative_to(_path(old))
        for file in sorted(f for f in source.rglob("*") if f.is_file() and not f.name.endswith(COMING)):
            destination = target / file.relative_to(source)
            if not destination.exists():
                destination.parent.mkdir(parents=True, exist_ok=True)
                fresh = destination.with_name(destination.name + COMING)
                shutil.copyfile(file, fresh)
                os.replace(fresh, destination)
                count += 1
    return count


def _path(uri: str) -> Path:
    return Path(url2pathname(urlsplit(uri).path))


if __name__ == "__main__":  # for MLflow's own processes, see ``stepladder_mlflow``
    with suppress(UserError, OSError):
        relocate_if_moved(Path(sys.argv[1]).resolve())
