"""Texts with a class in prepared form: token ids, class numbers, and a card that names the classes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stepladder.data import hub, splits, texts
from stepladder.data.buckets import Sentences
from stepladder.data.card import LabelLine, LabelsCard, held_out_hash, prepared
from stepladder.data.preparing import names, pairs
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.source import local, reading
from stepladder.data.tokenizer import train
from stepladder.errors import UserError
from stepladder.params import Params, TextData

FEWEST = 8  # texts in each split


@dataclass(frozen=True)
class Labelled:
    """A text and its class, and the row (from 0) it was read from, which does not count in comparisons."""

    text: str
    label: str
    row: int = field(compare=False)


Encoded = tuple[Labelled, list[int]]  # with its token ids


def prepare(params: Params, folder: Path) -> LabelsCard:
    """Prepare the texts with a class that ``params.text`` names, in ``folder``; returns the card.

    Files: ``tokenizer.json``; for each split ``SPLIT_text.npy`` (token ids, flat), ``SPLIT_text_offsets.npy`` ``(N + 1,)`` and
    ``SPLIT_labels.npy`` ``(N,)``, numbers of the card's ``classes``; but for train ``SPLIT.jsonl``, a text with its class a
    line. A text that occurs again in a split with the same class is kept once.

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, too few texts or one class only.
    """
    text = params.text
    bad = BadRows(text.on_bad_row, "text.on_bad_row")
    fingerprint = reading("text", text)
    name, origin, licence, rows_by_split = _read(text, bad)
    cleaned = {split: _clean(rows, split, bad) for split, rows in rows_by_split.items()}
    bad.check_refused()
    unique = {split: list(dict.fromkeys(rows)) for split, rows in cleaned.items()}
    parts = _split(unique, text, params.seed)
    classes = sorted({row.label for row in parts["train"]})
    if len(classes) < 2:
        raise UserError(f"The texts{bad.note()} have {len(classes)} class; name another column in text.label_column.")
    tokenizer = train((row.text for row in parts["train"]), text.tokenizer, text.vocab_size)
    vocab_size = tokenizer.get_vocab_size()
    encoded = {split: _encode(rows, split, tokenizer, classes, text.max_length, bad) for split, rows in parts.items()}
    bad.check_refused()
    for split, rows in encoded.items():
        _check_count(split, len(rows), bad)
    counts = {split: Counter(row.label for row, _ in rows) for split, rows in encoded.items()}
    in_train = {row.text for row, _ in encoded["train"]}
    card: LabelsCard = {
        "kind": "text",
        "task": text.task,
        "name": text.name or name,
        "source": origin,
        "licence": licence,
        "tokenizer": text.tokenizer,
        "vocab_size": vocab_size,
        "max_length": text.max_length,
        "classes": classes,
        "counts": {split: len(rows) for split, rows in encoded.items()},
        "tokens_per_text": {
            split: {"mean": round(sum(lengths) / len(lengths), 3), "longest": max(lengths)}
            for split, rows in encoded.items()
            for lengths in [[len(ids) for _, ids in rows]]
        },
        "counts_by_class": {split: {c: counts[split][c] for c in classes} for split in encoded},
        "repeated": {split: len(cleaned[split]) - len(unique[split]) for split in unique},
        "seen_in_training": {s: sum(row.text in in_train for row, _ in encoded[s]) for s in encoded if s != "train"},
        "set_aside": bad.card(),
        "held_out_hash": held_out_hash([[row.text, row.label] for row, _ in encoded["test"]]),
    }
    with prepared(folder, card, made_of=fingerprint) as fresh:
        (fresh / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        for split, rows_and_ids in encoded.items():
            _write(fresh, split, rows_and_ids, classes, vocab_size)
    return card


def _encode(
    rows: list[Labelled], split: str, tokenizer: Tokenizer, classes: list[str], max_length: int, bad: BadRows
) -> list[Encoded]:
    """The texts of a split with their token ids; those of an unknown class, and those that are too long, are bad rows."""
    encoded = []
    encodings = tokenizer.encode_batch([row.text for row in rows], add_special_tokens=False)
    for row, encoding in zip(rows, encodings, strict=True):
        if row.label not in classes:
            bad.add(split, row.row, f"unknown class ({row.label[:40]}, of which train has no text)")
        elif len(encoding.ids) + 2 > max_length:  # with its beginning and its end
            longest = f"{len(encoding.ids) + 2} tokens where {max_length} are allowed"
            bad.add(split, row.row, f"overlong line ({longest})")
        else:
            encoded.append((row, encoding.ids))
    return encoded


def _check_count(split: str, count: int, bad: BadRows) -> None:
    if count < FEWEST:
        raise UserError(
            f"The {split} split has {count} texts{bad.note()} and needs at least {FEWEST}; give more data, or "
            "raise text.limit or text.held_out."
        )


def _write(folder: Path, split: str, rows: list[Encoded], classes: list[str], vocab_size: int) -> None:
    """The files of a split, as ``prepare`` says."""
    Sentences.write(folder / f"{split}_text", [ids for _, ids in rows], vocab_size)
    numbers = np.array([classes.index(row.label) for row, _ in rows], dtype=np.int64)
    np.save(folder / f"{split}_labels.npy", numbers)
    if split != "train":
        lines = (LabelLine(text=row.text, label=row.label) for row, _ in rows)
        written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"{split}.jsonl").write_text(written, encoding="utf-8")


def _read(text: TextData, bad: BadRows) -> tuple[str, str, str, dict[str, list[Labelled]]]:
    """Name, origin, licence and the texts of each split that the source has."""
    if text.source == "names":
        return "names", "pycountry (iso-codes gettext catalogues)", names.LICENCE, {"train": _names()}
    path = local(text.source) or Path(text.source)
    if path.suffix in (".tsv", ".jsonl"):
        columns = text.model_copy(
            update={"source_language": text.text_column, "target_languages": (text.label_column,)}
        )
        source = pairs.read(columns, bad)
        rows = {split: [Labelled(p.source, p.target, p.row) for p in side] for split, side in source.splits.items()}
        return source.name, source.origin, source.licence, rows
    if path.exists():
        raise UserError(f"text.source={text.source} is neither a .tsv nor a .jsonl file; convert it to one of them.")
    data = hub.load(text.source, text.config, text.revision)
    rows_by_split: dict[str, list[Labelled]] = {}
    for split, table in data.items():
        if name := splits.canonical(split):
            rows_by_split[name] = _columns(table, name, text, bad)
    if "train" not in rows_by_split:
        raise UserError(f"text.source={text.source} has no split named train; it has {', '.join(data)}.")
    origin = f"Hugging Face data set {text.source}"
    return text.source.split("/")[-1], origin, hub.licence(text.source), rows_by_split


def _names() -> list[Labelled]:
    """The ISO names by domain; those of two domains are left out."""
    domains: dict[str, list[str]] = {}
    for domain in names.DOMAINS:
        for name in names.english(domain):
            domains.setdefault(name, []).append(domain)
    unambiguous = sorted((name, where[0]) for name, where in domains.items() if len(where) == 1)
    return [Labelled(name, domain, row) for row, (name, domain) in enumerate(unambiguous)]


def _columns(table: Any, split: str, text: TextData, bad: BadRows) -> list[Labelled]:
    for column in (text.text_column, text.label_column):
        if column not in table.column_names:
            raise UserError(
                f"Data set {text.source} has no column {column}; it has {', '.join(table.column_names)}: name two of them in "
                "text.text_column and text.label_column."
            )
    class_names = getattr(table.features[text.label_column], "names", None)
    table = table.select_columns([text.text_column, text.label_column])
    labelled = []
    for row, (content, label) in enumerate(zip(table[text.text_column], table[text.label_column], strict=True)):
        if class_names and isinstance(label, int) and 0 <= label < len(class_names):
            label = class_names[label]
        if isinstance(content, str) and isinstance(label, str | int) and not (class_names and label == -1):
            labelled.append(Labelled(content, str(label), row))
        else:
            bad.add(split, row, "no text with a class")
    return labelled


def _clean(rows: list[Labelled], split: str, bad: BadRows) -> list[Labelled]:
    cleaned = []
    for row in rows:
        if texts.has_lone_surrogate(row.text + row.label):
            bad.add(split, row.row, "not text (half of a surrogate pair)")
            continue
        text, label = texts.tidy(row.text), texts.tidy(row.label)
        if text and label:
            cleaned.append(Labelled(text, label, row.row))
        else:
            bad.add(split, row.row, f"empty {'text' if not text else 'class'}")
    return cleaned


def _split(by_split: dict[str, list[Labelled]], text: TextData, seed: int) -> dict[str, list[Labelled]]:
    """Missing test and validation splits taken from the training texts; no text is in two of them."""
    by_text: dict[str, list[Labelled]] = {}
    for row in by_split["train"]:
        by_text.setdefault(row.text, []).append(row)
    chosen = splits.shuffled(by_text, seed)
    chosen = chosen[: text.limit] if text.limit else chosen
    held_out = int(len(chosen) * text.held_out)
    parts = dict(by_split)
    for name in ("test", "validation"):
        if name not in parts:
            parts[name], chosen = [row for key in chosen[:held_out] for row in by_text[key]], chosen[held_out:]
    parts["train"] = [row for key in chosen for row in by_text[key]]
    return {name: parts[name] for name in (*splits.WANTED, *splits.further(parts))}
