"""Predictions for a file or folder: translations for a file of sentences, a folder of pictures for a table of labels.

Finished chunks are kept in ``OUT.parts/``: the same request to the same version of the model resumes after the last one.
``OUT`` itself appears only when it is complete.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stepladder.data.grid import single
from stepladder.errors import UserError
from stepladder.serving.models import Painter, Translator, load
from stepladder.tracking import health, references, store

SUFFIXES = {Translator: ".txt", Painter: ".csv"}
INDEX = "pictures.csv"
CHUNK = 256

Log = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """How to predict; ``None``: the model's default. ``seed`` is for all pictures; each picture also depends on its number."""

    steps: int | None = None
    sampler: str | None = None
    guidance_scale: float | None = None
    seed: int = 0
    beam_size: int | None = None
    language: str | None = None


class Work(Protocol):
    """The work on one file: answers its rows chunk by chunk into folders, and joins these to the result."""

    def __len__(self) -> int: ...

    def chunk(self, first: int, last: int, folder: Path) -> None:
        """Answer the rows from ``first`` to before ``last`` into ``folder``."""

    def join(self, folders: list[Path], out: Path) -> None:
        """Put all chunks together to ``out``."""


def predict(
    model: str, source: Path, out: Path, options: Options | None = None, *, chunk: int = CHUNK,
    log: Log = print, progress: Progress = lambda done, count: None,
) -> list[Path]:  # fmt: skip
    """Answer every row of the file ``source``, or of every file in that folder; returns the results' paths.

    A translation model reads ``.txt``, a sentence a line, and writes the same; a diffusion model reads ``.csv`` with a column ``label``
    or ``text`` or both, and makes a folder of numbered pictures with ``pictures.csv``. Of a folder, ``out`` is a folder with a result
    of the same name for each file; existing results are left as they are.

    Args:
        model: folder, or ``models:/NAME@ALIAS``.
        chunk: rows answered, and kept, at once.
        progress: called with the rows done and the rows of the file.

    Raises:
        UserError: a file, a row or an option is not valid, which is checked before work on its file starts; or ``out`` exists.
    """
    if chunk < 1:
        raise UserError(f"--chunk {chunk} given; a chunk has 1 row or more.")
    options, identity = options or Options(), _identity(model)
    loaded = load(model)
    suffix = SUFFIXES[type(loaded)]
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix == suffix)
        if not files:
            raise UserError(f"{source} holds no {suffix} file, which {model} reads.")
        pairs = [(file, out / (file.name if suffix == ".txt" else file.stem)) for file in files]
        pairs = [(file, result) for file, result in pairs if not result.exists()]
    else:
        pairs = [(source, out)]
        if out.exists():
            raise UserError(f"{out} exists and is not written over; remove it, or name another with --out.")
    works = [(_work(loaded, file, options), file, result) for file, result in pairs]
    for work, file, result in works:
        _answer(work, [identity, file.read_text(encoding="utf-8"), vars(options)], result, chunk, log, progress)
        log(f"{result}: {len(work)} rows of {file}")
    return [result for _, result in pairs]


def _answer(work: Work, request: list[Any], out: Path, chunk: int, log: Log, progress: Progress) -> None:
    parts = out.with_name(f"{out.name}.parts")
    digest = hashlib.sha256(json.dumps([*request, chunk], sort_keys=True).encode()).hexdigest()
    mark = parts / "asked"
    if parts.exists() and (not mark.exists() or mark.read_text() != digest):
        log(f"{parts} is of another request, model or chunk size: it is begun anew")
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest)
    folders = []
    for first in range(0, len(work), chunk):
        last, folder = min(first + chunk, len(work)), parts / f"{first:08d}"
        if not folder.exists():
            unfinished = parts / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            work.chunk(first, last, unfinished)
            unfinished.rename(folder)
        folders.append(folder)
        progress(last, len(work))
    joined = parts / "whole"
    if joined.is_dir():
        shutil.rmtree(joined)
    work.join(folders, joined)
    joined.rename(out)
    shutil.rmtree(parts)


@dataclass(frozen=True)
class Sentences(Work):
    """A file of sentences, one in each line; the answer to a blank line is a blank line."""

    model: Translator
    lines: list[str]
    options: Options

    def __len__(self) -> int:
        return len(self.lines)

    def chunk(self, first: int, last: int, folder: Path) -> None:
        decoding = self.model.decoding(beam_size=self.options.beam_size)
        translations = self.model.translate(self.lines[first:last], decoding, self.options.language)
        text = "".join(" ".join(line.split("\n")) + "\n" for line in translations)
        (folder / "lines.txt").write_text(text, encoding="utf-8")

    def join(self, folders: list[Path], out: Path) -> None:
        with out.open("w", encoding="utf-8") as output:
            for folder in folders:
                output.write((folder / "lines.txt").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Pictures(Work):
    """A table of classes and texts, with a picture for each row."""

    model: Painter
    rows: list[tuple[str, str]]
    options: Options

    def __len__(self) -> int:
        return len(self.rows)

    def chunk(self, first: int, last: int, folder: Path) -> None:
        labels, texts = zip(*self.rows[first:last], strict=True)
        sampling = self.model.sampling(sampler=self.options.sampler, guidance_scale=self.options.guidance_scale)
        pictures = self.model.draw(labels, texts, self.options.steps, sampling, self.options.seed, first)
        for number, picture in enumerate(pictures, first):
            single(picture).save(folder / _file(number))

    def join(self, folders: list[Path], out: Path) -> None:
        out.mkdir()
        for folder in folders:
            for file in folder.iterdir():
                shutil.copyfile(file, out / file.name)
        with (out / INDEX).open("w", encoding="utf-8", newline="") as index:
            table = csv.writer(index)
            table.writerow(["file", "label", "text"])
            table.writerows([_file(number), *row] for number, row in enumerate(self.rows))


def _work(model: Painter | Translator, file: Path, options: Options) -> Work:
    """The work on ``file``, after its rows and the options were checked."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text ({error}).") from None
    if isinstance(model, Translator):
        lines = [line.strip() for line in text.splitlines()]
        if not lines:
            raise UserError(f"{file} is empty; give a sentence a line.")
        model.decoding(beam_size=options.beam_size)
        model.check(lines, options.language)
        return Sentences(model, lines, options)
    rows = _rows(file, text)
    sampling = model.sampling(sampler=options.sampler, guidance_scale=options.guidance_scale)
    for label, words in dict.fromkeys(rows):
        try:
            model.check(label, words, options.steps, sampling)
        except UserError as error:
            raise UserError(f"{file}, row {rows.index((label, words)) + 1}: {error}") from None
    return Pictures(model, rows, options)


def _rows(file: Path, text: str) -> list[tuple[str, str]]:
    """(label, text) of each row, "" for none."""
    table = csv.DictReader(text.splitlines())
    columns = {name.strip(): name for name in table.fieldnames or ()}
    if not {"label", "text"} & set(columns):
        raise UserError(
            f"{file} has the columns {', '.join(columns) or '(none)'}; a column label, or text, or both is needed."
        )
    rows = [tuple((row.get(columns.get(key, "")) or "").strip() for key in ("label", "text")) for row in table]
    if not rows:
        raise UserError(f"{file} has no rows below its head.")
    return [(label, text) for label, text in rows]


def _identity(model: str) -> str:
    """A text that identifies the model for good: a registered model's version, or the hash of a folder's weights."""
    if not Path(model).is_dir():
        with store.answering():
            return "/".join(references.version(health.registry(), model))
    file = Path(model) / "model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else model


def _file(number: int) -> str:
    return f"{number:06d}.png"
