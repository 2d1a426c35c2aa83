"""Separates what happened (times, runs, commits) from results, which code, data and parameters determine.

DVC's results hold only what these determine, so that the same job on the same kind of machine has the same hashes: a
training's weights, description (``training.json``) and losses (``curve.jsonl``); an evaluation's figures. When it was made, by
which run, from which commit, and how long it took is in the project's ``.history/``, which DVC does not know: in ``KEY/`` for a
training, by its key, and in ``files/`` for figures and registrations, by a hash of their determined part. Only this module
splits and joins the two.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from stepladder import lineage, project
from stepladder.errors import UserError
from stepladder.journal.record import Header, Line

FOLDER = ".history"
TRAINING, CURVE = "training.json", "curve.jsonl"  # in a model's folder
RUN, JOURNAL, PREVIEWS = "run.json", "journal.jsonl", "previews"  # in a training's history, next to its ``lineage``
HAPPENED = ("git_commit", "git_dirty", "dvc_lock", "flow_run", "started")  # keys of a journal's header
TIMES = ("seconds", "milliseconds_per_image", "sentences_per_second", "compiled_graphs")
"""Figures that are times, at any depth."""
REGISTRATION = ("tracking_uri", "why", "version", "aliases", "run_id")  # a registered model's keys of the store
SYSTEM = "system/"  # prefix of figures of a machine's load
C = TypeVar("C", bound=Mapping[str, Any])


class Training(Header, total=False):
    """``training.json``: the determined part of the journal's header, and figures; empty: there is no model."""

    figures: dict[str, float]


class Run(Training, total=False):
    """All that is known of a model: if its history is here, also its run, the keys ``HAPPENED``, and times among the figures."""

    run_id: str | None
    parent_run_id: str | None
    experiment_id: str
    tracking_uri: str


def home() -> Path:
    """The folder of the project's history."""
    return project.root() / FOLDER


def folder_of(key: str) -> Path:
    """The folder with the history of the training with that key."""
    return home() / key


def training(model: Path) -> Training:
    """The ``training.json`` of the model in ``model``.

    Raises:
        UserError: the file is not JSON.
    """
    content: Training = _json(model / TRAINING)
    return content


def key(model: Path) -> str | None:
    """The key of the training that made the model in ``model``; ``None`` where it is not recorded."""
    try:
        return training(model).get("key")
    except UserError:
        return None


def run(model: Path, home: Path | None = None) -> Run:
    """All that is known of the model in ``model``. ``home``: another project's history."""
    known = training(model)
    if not known:
        return {}
    happened: Run = _json((home or project.root() / FOLDER) / known["key"] / RUN)
    return {**known, **happened, "figures": known["figures"] | happened.get("figures", {})}


def header(model: Path) -> Header:
    """The header of its journal; without the journal, the part of it in the model's folder."""
    known = training(model)
    if known and (lines := _lines(folder_of(known["key"]) / JOURNAL)):
        return lines[0]["header"]
    return _header(known, model)


def curve(model: Path) -> list[Line]:
    """The figures of its training, one line for each step, without times; none where there is no model."""
    return _lines(model / CURVE)


def keep(state: Path, model: Path, header: Header, run: Mapping[str, object], figures: Mapping[str, float]) -> None:
    """Split the files of a finished training in ``state``: its history goes to ``.history/KEY/``, the rest into ``model``.

    Args:
        header: of its journal; ``run``: of the tracking store; ``figures``: of the training, with times.
    """
    decided, times = _split(figures, TIMES)
    known = {name: value for name, value in header.items() if name not in HAPPENED}
    _write_json(model / TRAINING, known | {"figures": decided})
    lines = [{"step": line["step"], "metrics": point} for line in _lines(state / JOURNAL) if (point := _decided(line))]
    (model / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    kept, fresh = folder_of(header["key"]), folder_of(f"{header['key']}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copyfile(state / JOURNAL, fresh / JOURNAL)
    for name in (PREVIEWS, lineage.FOLDER):
        if (state / name).exists():
            shutil.copytree(state / name, fresh / name)
    happened = {name: header.get(name) for name in HAPPENED}
    _write_json(fresh / RUN, {**run, **happened, "figures": times})
    shutil.rmtree(kept, ignore_errors=True)
    os.replace(fresh, kept)


def journal(model: Path) -> Path:
    """The journal of the training that made ``model``; without its history, one is made from the model's folder.

    Such a journal names no commit, and all its lines have the time of the file.
    """
    known = training(model)
    folder = folder_of(known["key"])
    if not (folder / JOURNAL).exists():
        time = (model / TRAINING).stat().st_mtime
        lines: list[Line] = [{"header": _header(known, model)}]
        lines += [{**line, "time": time} for line in curve(model)]
        _write_json(folder / RUN, {})  # it is finished
        _write_at_once(folder / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines))
    return folder / JOURNAL


def times(model: Path) -> list[float]:
    """When the training of ``model`` began and when it wrote each line, in unix seconds; none where its history is not here."""
    known = training(model)
    lines = _lines(folder_of(known["key"]) / JOURNAL) if known else []
    return [line.get("time") or line["header"]["started"] for line in lines]


def models(folder: Path) -> list[Path]:
    """The models in and under ``folder``."""
    return sorted(file.parent for file in folder.rglob(TRAINING))


def write(file: Path, content: Mapping[str, object] | Sequence[object], volatile: Sequence[str] = TIMES) -> None:
    """Write ``content`` to ``file`` without the keys ``volatile``, at any depth, which go to the history, by the file's hash."""
    decided, happened = _split(content, volatile)
    text = json.dumps(decided, indent=2, ensure_ascii=False) + "\n"
    _write_at_once(file, text)
    if happened:
        _write_json(_of_text(text), happened)
    else:  # kept for an earlier file with the same text
        _of_text(text).unlink(missing_ok=True)


def read(file: Path) -> Any:
    """The content that was passed to ``write``: that of ``file``, with the history's part if it is here; ``{}`` without a file.

    Raises:
        UserError: it is not JSON.
    """
    if not file.exists():
        return {}
    return _join(_json(file), _json(_of_text(file.read_text(encoding="utf-8"))))


def compared(comparison: C, models: Path, reports: Path) -> C:
    """A comparison with times and runs, as far as the history here has them: each point's times, each training's
    ``seconds`` and ids of runs.
    """  # fmt: skip
    folders = {t: reports / "diffusion" / f"T{t}" for t in {point["timesteps"] for point in comparison["sweep"]}}
    points = {t: read(folder / "metrics.json").get("points", []) for t, folder in folders.items()}

    def with_times(point: Mapping[str, Any]) -> Mapping[str, Any]:
        same = (p for p in points.get(point["timesteps"], ()) if all(p[k] == point.get(k) for k in p if k not in TIMES))
        return {**next(same, {}), **point}

    def with_run(row: Mapping[str, Any] | None, model: Path) -> Mapping[str, Any] | None:
        known = run(model) if row else {}
        ids = {name: known.get(name) for name in ("run_id", "experiment_id", "parent_run_id", "git_commit")}
        return {**row, **ids, "seconds": known.get("figures", {}).get("seconds")} if row else None

    complete = {
        **comparison,
        "sweep": [with_times(point) for point in comparison["sweep"]],
        "recommended": with_times(comparison["recommended"]) if comparison.get("recommended") else None,
        "training": [
            with_run(row, models / "diffusion" / f"T{row['timesteps']}") for row in comparison.get("training", ())
        ],
        "translation_training": with_run(comparison.get("translation_training"), models / "transformer"),
    }
    return cast(C, complete)


def _split(content: Any, names: Sequence[str]) -> tuple[Any, Any]:
    """(``content`` without the keys ``names``, these keys alone); for a list the latter are by index."""
    if isinstance(content, Mapping):
        parts = {name: _split(value, names) for name, value in content.items() if name not in names}
        taken = {name: value for name, value in content.items() if name in names}
    elif isinstance(content, list):
        parts, taken = {str(place): _split(value, names) for place, value in enumerate(content)}, {}
    else:
        return content, {}
    taken |= {name: part for name, (_, part) in parts.items() if part}
    left = {name: value for name, (value, _) in parts.items()}
    return (list(left.values()) if isinstance(content, list) else left), taken


def _join(left: Any, taken: Any) -> Any:
    """The content that was passed to ``_split``."""
    if isinstance(left, dict) and isinstance(taken, dict):
        both = {name: _join(value, taken.get(name)) for name, value in left.items()}
        return both | {name: value for name, value in taken.items() if name not in left}
    if isinstance(left, list) and isinstance(taken, dict):
        return [_join(value, taken.get(str(place))) for place, value in enumerate(left)]
    return left


def _decided(line: Line) -> dict[str, float]:
    return {
        name: value
        for name, value in line.get("metrics", {}).items()
        if not name.startswith(SYSTEM) and name not in TIMES
    }


def _header(known: Training, model: Path) -> Header:
    if not known:
        return {}
    unknown = {"git_commit": None, "git_dirty": False, "dvc_lock": None, "flow_run": ""}
    decided = {name: value for name, value in known.items() if name != "figures"}
    return cast(Header, decided | unknown | {"started": (model / TRAINING).stat().st_mtime})


def _of_text(text: str) -> Path:
    """The history's file for a file with this content."""
    return home() / "files" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _lines(file: Path) -> list[Line]:
    """The complete lines of a file, none where there is no file; a line that a kill cut off is skipped."""
    lines: list[Line] = []
    for line in file.read_text(encoding="utf-8").split("\n") if file.exists() else ():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise UserError(f"{file} is not JSON ({error}); remove it and run its stage again with `dvc repro`.") from None


def _write_json(file: Path, content: object) -> None:
    _write_at_once(file, json.dumps(content, indent=2) + "\n")


def _write_at_once(file: Path, text: str) -> None:
    """Write atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)
