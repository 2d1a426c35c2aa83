"""Where sentence pairs come from: names, a hub data set, or a file of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stepladder.data import hub, names
from stepladder.data.bad_rows import BadRows
from stepladder.errors import UserError
from stepladder.params import TextData


@dataclass(frozen=True)
class Pair:
    """One sentence pair, and the row (from 0) it was read from."""

    source: str
    target: str
    language: str
    row: int


@dataclass(frozen=True)
class PairSource:
    """Pairs by split ("train", and where the source has them "validation" and "test"), and where they come from."""

    name: str
    origin: str
    licence: str
    splits: dict[str, list[Pair]]


def read(text: TextData, bad: BadRows) -> PairSource:
    """The pairs that ``text.source`` names; rows without both sides go to ``bad``."""
    if text.source == "names":
        return _names(text)
    path = Path(text.source)
    if path.suffix in (".tsv", ".jsonl"):
        return _file(path, text, bad)
    if path.exists():
        raise UserError(f"text.source={text.source} is neither a .tsv nor a .jsonl file; convert it to one of them.")
    return _hub(text, bad)


def _names(text: TextData) -> PairSource:
    if text.source_language != "en":
        raise UserError(f"text.source_language={text.source_language}: the names are translated from en only.")
    found = [
        Pair(english, translation, language, row)
        for language in text.target_languages
        for row, (english, translation) in enumerate(names.pairs(language))
    ]
    return PairSource("names", "pycountry (iso-codes gettext catalogues)", names.LICENCE, {"train": found})


def _hub(text: TextData, bad: BadRows) -> PairSource:
    data = hub.load(text.source, text.config)
    wanted = (text.source_language, *text.target_languages)
    splits: dict[str, list[Pair]] = {}
    for split, rows in data.items():
        missing = [column for column in wanted if column not in rows.column_names]
        if missing:
            raise UserError(
                f"Data set {text.source} has no column {', '.join(missing)}; its columns are "
                f"{', '.join(rows.column_names)}: set text.source_language and text.target_languages to two of them."
            )
        name = {"val": "validation", "dev": "validation"}.get(split, split)
        sources = rows[text.source_language]
        splits[name] = []
        for language in text.target_languages:
            for row, (source, target) in enumerate(zip(sources, rows[language], strict=True)):
                if isinstance(source, str) and isinstance(target, str):
                    splits[name].append(Pair(source, target, language, row))
                else:
                    bad.add(name, row, "not a pair of texts")
    licence = next(iter(data.values())).info.license or "not stated"
    return PairSource(text.source.split("/")[-1], f"Hugging Face data set {text.source}", licence, splits)


def _file(path: Path, text: TextData, bad: BadRows) -> PairSource:
    reader = _tsv if path.suffix == ".tsv" else _jsonl
    try:
        found = list(reader(path, text, bad))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); text.source must name a file of pairs.") from None
    return PairSource(path.stem, f"file {path.name}", "the user's own", {"train": found})


def _lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for row, line in enumerate(file):
            try:
                yield row, line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                bad.add("train", row, "not UTF-8")


def _tsv(path: Path, text: TextData, bad: BadRows) -> Iterator[Pair]:
    """Tab-separated: a header naming the languages, or source and target in this order."""
    columns = [text.source_language, *text.target_languages]
    for row, line in _lines(path, bad):
        cells = next(csv.reader([line], delimiter="\t", quoting=csv.QUOTE_NONE), [])
        if row == 0 and set(columns) <= set(cells):
            columns = cells
            continue
        if len(cells) != len(columns):
            bad.add("train", row, f"mismatched columns ({len(cells)} where {len(columns)} are expected)")
            continue
        by_name = dict(zip(columns, cells, strict=True))
        for language in text.target_languages:
            yield Pair(by_name[text.source_language], by_name[language], language, row)


def _jsonl(path: Path, text: TextData, bad: BadRows) -> Iterator[Pair]:
    """One JSON object a line, with a key for each language."""
    for row, line in _lines(path, bad):
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            bad.add("train", row, "not JSON")
            continue
        for language in text.target_languages:
            sides = [content.get(key) for key in (text.source_language, language)] if isinstance(content, dict) else []
            if len(sides) == 2 and all(isinstance(side, str) for side in sides):
                yield Pair(sides[0], sides[1], language, row)
            else:
                bad.add("train", row, f"mismatched columns (no texts {text.source_language} and {language})")
