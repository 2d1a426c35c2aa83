"""Sentence pairs in prepared form: token ids in memory-mapped arrays, the tokenizer, and a card."""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stepladder.data import pairs
from stepladder.data.bad_rows import BadRows
from stepladder.data.card import prepared
from stepladder.data.pairs import Pair
from stepladder.data.tokenizer import tag, train
from stepladder.errors import UserError
from stepladder.params import Params, TextData

FEWEST_HELD_OUT = 8


def prepare(params: Params, folder: Path) -> dict[str, Any]:
    """Prepare the pairs that ``params.text`` names, in ``folder``; returns the card.

    Files: ``tokenizer.json``; for each split and side ``SPLIT_SIDE.npy`` (token ids, flat) and
    ``SPLIT_SIDE_offsets.npy`` ``(N + 1,)``; the raw pairs of validation and test as ``SPLIT.jsonl``; ``card.json``.
    The same source gives the same bytes.

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, or too few rows.
    """
    text = params.text
    bad = BadRows(text.on_bad_row, "text.on_bad_row")
    found = pairs.read(text, bad)
    splits = _split({name: _clean(rows, name, bad) for name, rows in found.splits.items()}, text, params.seed)
    bad.settle()
    tags = [tag(language) for language in text.target_languages] if len(text.target_languages) > 1 else []
    both_sides = (side for pair in splits["train"] for side in (pair.source, pair.target))
    tokenizer = train(both_sides, text.tokenizer, text.vocab_size, tags)
    encoded = {name: _encode(rows, name, tokenizer, text, bad) for name, rows in splits.items()}
    bad.settle()
    _enough(encoded, params, bad)

    trained_on = {row.pair.source for row in encoded["train"]}
    vocab_size = tokenizer.get_vocab_size()
    card: dict[str, Any] = {
        "kind": "text",
        "name": found.name,
        "source": found.origin,
        "licence": found.licence,
        "languages": {"source": text.source_language, "targets": list(text.target_languages)},
        "tokenizer": text.tokenizer,
        "vocab_size": vocab_size,
        "counts": {name: len(rows) for name, rows in encoded.items()},
        "tokens_per_sentence": {
            name: {"mean": round(sum(lengths) / len(lengths), 3), "longest": max(lengths)}
            for name, rows in encoded.items()
            for lengths in [[len(row.target) for row in rows]]
        },
        # a published split may repeat training sentences; one made here never does
        "seen_in_training": {
            name: sum(row.pair.source in trained_on for row in encoded[name]) for name in ("validation", "test")
        },
        "set_aside": bad.card(),
    }
    with prepared(folder, card) as fresh:
        (fresh / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        for name, rows in encoded.items():
            _save(fresh / f"{name}_source", [row.source for row in rows], vocab_size)
            _save(fresh / f"{name}_target", [row.target for row in rows], vocab_size)
            if name != "train":
                lines = (
                    {"source": row.pair.source, "target": row.pair.target, "language": row.pair.language}
                    for row in rows
                )
                written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                (fresh / f"{name}.jsonl").write_text(written, encoding="utf-8")
    return card


@dataclass(frozen=True)
class Encoded:
    """A sentence pair and its token ids, the source's with the language's tag where there are several."""

    pair: Pair
    source: list[int]
    target: list[int]


def _clean(rows: list[Pair], split: str, bad: BadRows) -> list[Pair]:
    cleaned = []
    for pair in rows:
        source, target = (" ".join(unicodedata.normalize("NFC", s).split()) for s in (pair.source, pair.target))
        if any(unicodedata.category(character) == "Cs" for character in source + target):
            bad.add(split, pair.row, "not text (half of a surrogate pair)")
        elif source and target:
            cleaned.append(Pair(source, target, pair.language, pair.row))
        else:
            bad.add(split, pair.row, f"empty line (in the {'source' if not source else pair.language})")
    return cleaned


def _split(splits: dict[str, list[Pair]], text: TextData, seed: int) -> dict[str, list[Pair]]:
    """Missing test and validation splits taken from the training pairs, by source: no source is in two of them."""
    by_source: dict[str, list[Pair]] = {}
    for pair in splits["train"]:
        by_source.setdefault(pair.source, []).append(pair)
    chosen = list(by_source)
    missing = [name for name in ("test", "validation") if name not in splits]
    if missing:
        chosen.sort(key=lambda source: hashlib.sha256(f"{seed}\0{source}".encode()).digest())
    if text.limit:
        total = itertools.accumulate(len(by_source[source]) for source in chosen)
        chosen = [source for source, so_far in zip(chosen, total, strict=True) if so_far <= text.limit]
    held = int(len(chosen) * text.held_out)
    split = dict(splits)
    for name in missing:
        split[name], chosen = [pair for source in chosen[:held] for pair in by_source[source]], chosen[held:]
    split["train"] = [pair for source in chosen for pair in by_source[source]]
    return {name: split[name] for name in ("train", "validation", "test")}


def _encode(rows: list[Pair], split: str, tokenizer: Tokenizer, text: TextData, bad: BadRows) -> list[Encoded]:
    """Token ids of ``rows``; those with too many are bad rows."""
    prefixes: dict[str, list[int]] = {language: [] for language in text.target_languages}
    if len(prefixes) > 1:
        prefixes = {language: [tokenizer.get_vocab()[tag(language)]] for language in prefixes}
    sources, targets = (
        [encoding.ids for encoding in tokenizer.encode_batch(side, add_special_tokens=False)]
        for side in ([pair.source for pair in rows], [pair.target for pair in rows])
    )
    encoded = []
    for pair, source, target in zip(rows, sources, targets, strict=True):
        source = prefixes[pair.language] + source
        longest = max(len(source), len(target)) + 1  # with the end of the sentence, as the model reads it
        if longest > text.max_length:
            bad.add(split, pair.row, f"overlong line ({longest} tokens where {text.max_length} are allowed)")
        else:
            encoded.append(Encoded(pair, source, target))
    return encoded


def _enough(splits: dict[str, list[Encoded]], params: Params, bad: BadRows) -> None:
    tokens, batch = sum(len(row.target) + 1 for row in splits["train"]), params.transformer.training.batch_size
    if tokens < batch:
        raise UserError(
            f"The train split has {len(splits['train'])} sentence pairs{bad.aside()} and needs at least a batch of {batch} "
            f"target tokens (it has {tokens}); give more data, or a smaller transformer.training.batch_size."
        )
    for name in ("validation", "test"):
        if len(splits[name]) < FEWEST_HELD_OUT:
            raise UserError(
                f"The {name} split has {len(splits[name])} sentence pairs{bad.aside()} and needs at least "
                f"{FEWEST_HELD_OUT}; give more data, or raise text.limit or text.held_out."
            )


def _save(stem: Path, sentences: list[list[int]], vocab_size: int) -> None:
    dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
    np.save(f"{stem}.npy", np.fromiter((token for s in sentences for token in s), dtype=dtype))
    np.save(f"{stem}_offsets.npy", np.cumsum([0] + [len(s) for s in sentences], dtype=np.int64))
