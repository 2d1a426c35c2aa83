"""Where sentence pairs come from: names, a hub data set, or the user's file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepladder.data import hub, splits
from stepladder.data.preparing import names
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.source import local
from stepladder.errors import UserError
from stepladder.params import TextData


@dataclass(frozen=True)
class Pair:
    """One sentence pair, and the row (from 0) it was read from; ``references``: all targets, where there are several."""

    source: str
    target: str
    language: str
    row: int
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairSource:
    """Pairs by split ("train", and where the source has them "validation", "test" and further test splits), and where they come from."""

    name: str
    origin: str
    licence: str
    splits: dict[str, list[Pair]]


def read(text: TextData, bad: BadRows) -> PairSource:
    """The pairs that ``text.source`` names; rows without both sides go to ``bad``."""
    if text.source == "names":
        return _names(text)
    path = local(text.source) or Path(text.source)
    if path.suffix in (".tsv", ".jsonl"):
        return _file(path, text, bad)
    if path.exists():
        raise UserError(f"text.source={text.source} is neither a .tsv nor a .jsonl file; convert it to one of them.")
    return _hub(text, bad)


def _names(text: TextData) -> PairSource:
    if text.source_language != "en":
        raise UserError(f"text.source_language={text.source_language}: the names are translated from en only.")
    pairs = [
        Pair(english, translation, language, row)
        for language in text.target_languages
        for row, (english, translation) in enumerate(names.pairs(language))
    ]
    return PairSource("names", "pycountry (iso-codes gettext catalogues)", names.LICENCE, {"train": pairs})


def _hub(text: TextData, bad: BadRows) -> PairSource:
    """A column for each language, or one column ``translation`` of texts by language.

    A cell may be a list of texts: of the source, sentences that follow one another; of the target, references of equal rank.
    """
    data = hub.load(text.source, text.config, text.revision)
    pairs_by_split: dict[str, list[Pair]] = {}
    for split, rows in data.items():
        name = splits.canonical(split)
        if not name:
            continue
        sides = {language: _column(rows, language, text) for language in (text.source_language, *text.target_languages)}
        pairs_by_split[name] = []
        for language in text.target_languages:
            for row, (source, target) in enumerate(zip(sides[text.source_language], sides[language], strict=True)):
                pair = _pair(source, target, language, row)
                if pair is None:
                    bad.add(name, row, f"not a pair of texts (in {text.source_language} and {language})")
                else:
                    pairs_by_split[name].append(pair)
    if "train" not in pairs_by_split:
        raise UserError(f"text.source={text.source} has no split named train; it has {', '.join(data)}.")
    origin = f"Hugging Face data set {text.source}"
    name = "-".join(filter(None, [text.source.split("/")[-1], text.config]))
    return PairSource(name, origin, hub.licence(text.source), pairs_by_split)


def _pair(source: Any, target: Any, language: str, row: int) -> Pair | None:
    """The pair of two cells; ``None`` where one is neither a text nor a list of texts."""
    source = " ".join(source) if isinstance(source, list) and all(isinstance(s, str) for s in source) else source
    references = tuple(target) if isinstance(target, list | tuple) else (target,)
    if not isinstance(source, str) or not references or not all(isinstance(r, str) for r in references):
        return None
    return Pair(source, references[0], language, row, references if len(references) > 1 else ())


def _column(rows: Any, language: str, text: TextData) -> list[Any]:
    if language in rows.column_names:
        return list(rows[language])
    nested = rows.features.get("translation")
    languages = list(getattr(nested, "languages", None) or (nested if isinstance(nested, dict) else []))
    if language in languages:
        return [(cell or {}).get(language) for cell in rows["translation"]]
    raise UserError(
        f"Data set {text.source} has no column {language}; it has {', '.join(languages or rows.column_names)}: name two of "
        "them in text.source_language and text.target_languages."
    )


def _file(path: Path, text: TextData, bad: BadRows) -> PairSource:
    reader = _tsv if path.suffix == ".tsv" else _jsonl
    try:
        pairs = list(reader(path, text, bad))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); text.source must name a file of pairs.") from None
    return PairSource(path.stem, f"file {path.name}", "the user's own", {"train": pairs})


def lines(path: Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    """Row numbers and lines of text; a byte order mark at the beginning is no part of it."""
    with path.open("rb") as file:
        for row, line in enumerate(file):
            try:
                text = line.decode("utf-8" if row else "utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError as error:
                bad.add("train", row, f"not UTF-8 (byte {error.start} of the line)")
                continue
            if text.strip():
                yield row, text
            else:
                bad.add("train", row, "empty line")


def _tsv(path: Path, text: TextData, bad: BadRows) -> Iterator[Pair]:
    """Tab-separated: a header naming the languages, or source and target in this order. Quotes are text."""
    columns = wanted = [text.source_language, *text.target_languages]
    for row, line in lines(path, bad):
        cells = line.split("\t")
        if row == 0 and set(wanted) <= {cell.strip() for cell in cells}:
            columns = [cell.strip() for cell in cells]
        elif len(cells) != len(columns):
            bad.add("train", row, f"mismatched columns ({len(cells)} where {len(columns)} are expected)")
        else:
            sides = dict(zip(columns, cells, strict=True))
            for language in text.target_languages:
                yield Pair(sides[text.source_language], sides[language], language, row)


def _jsonl(path: Path, text: TextData, bad: BadRows) -> Iterator[Pair]:
    """One JSON object a line, with a key for each language."""
    for row, line in lines(path, bad):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.add("train", row, f"not JSON ({str(error)[:80]})")
            continue
        sides = content if isinstance(content, dict) else {}
        for language in text.target_languages:
            pair = _pair(sides.get(text.source_language), sides.get(language), language, row)
            if pair is None:
                bad.add("train", row, f"mismatched columns (no texts {text.source_language} and {language})")
            else:
                yield pair
