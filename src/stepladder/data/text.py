"""Sentence pairs in prepared form: token ids in memory-mapped arrays, the tokenizer, and a card."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from stepladder.data import pairs
from stepladder.data.bad_rows import BadRows
from stepladder.data.card import prepared
from stepladder.data.pairs import Pair
from stepladder.data.tokenizer import tag, train
from stepladder.errors import UserError
from stepladder.params import Params, TextData

FEWEST = {"train": 64, "validation": 8, "test": 8}


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
    splits = {name: _clean(rows, name, bad) for name, rows in found.splits.items()}
    splits = _split(splits, text, params.seed)
    _enough(splits)
    tags = [tag(language) for language in text.target_languages] if len(text.target_languages) > 1 else []
    both_sides = (side for pair in splits["train"] for side in (pair.source, pair.target))
    tokenizer = train(both_sides, text.tokenizer, text.vocab_size, tags)

    card: dict[str, Any] = {
        "kind": "text",
        "name": found.name,
        "source": found.origin,
        "licence": found.licence,
        "languages": {"source": text.source_language, "targets": list(text.target_languages)},
        "tokenizer": text.tokenizer,
        "vocab_size": tokenizer.get_vocab_size(),
        "counts": {},
        "tokens_per_sentence": {},
    }
    with prepared(folder, card) as fresh:
        tokenizer.save(str(fresh / "tokenizer.json"))
        for name in ("train", "validation", "test"):
            rows = splits[name]
            prefixes = [tag(pair.language) if tags else "" for pair in rows]
            sides = {
                side: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
                for side, texts in (("source", [p.source for p in rows]), ("target", [p.target for p in rows]))
            }
            if tags:
                ids = [tokenizer.token_to_id(prefix) for prefix in prefixes]
                sides["source"] = [[i, *tokens] for i, tokens in zip(ids, sides["source"], strict=True)]
            kept = [i for i in range(len(rows)) if _fits(rows[i], name, [len(s[i]) for s in sides.values()], text, bad)]
            for side, sentences in sides.items():
                _save(fresh / f"{name}_{side}", [sentences[i] for i in kept], card["vocab_size"])
            card["counts"][name] = len(kept)
            lengths = [len(sides["target"][i]) for i in kept]
            card["tokens_per_sentence"][name] = {"mean": round(float(np.mean(lengths)), 3), "longest": max(lengths)}
            if name != "train":
                lines = [
                    {"source": rows[i].source, "target": rows[i].target, "language": rows[i].language} for i in kept
                ]
                written = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
                (fresh / f"{name}.jsonl").write_text(written, encoding="utf-8")
        card["set_aside"] = bad.card()
    return card


def _clean(rows: list[Pair], split: str, bad: BadRows) -> list[Pair]:
    cleaned = []
    for pair in rows:
        source, target = (" ".join(unicodedata.normalize("NFC", s).split()) for s in (pair.source, pair.target))
        if source and target:
            cleaned.append(Pair(source, target, pair.language, pair.row))
        else:
            bad.add(split, pair.row, f"empty line (in the {'source' if not source else pair.language})")
    return cleaned


def _split(splits: dict[str, list[Pair]], text: TextData, seed: int) -> dict[str, list[Pair]]:
    """Missing test and validation splits taken from the training pairs, by source: no source is in two of them."""
    if "train" not in splits:
        raise UserError(f"{text.source} has no split named train; it has {', '.join(splits)}.")
    by_source: dict[str, list[Pair]] = {}
    for pair in splits["train"]:
        by_source.setdefault(pair.source, []).append(pair)
    if {"test", "validation"} <= set(splits):
        chosen = list(by_source)
    else:
        chosen = sorted(by_source, key=lambda source: hashlib.sha256(f"{seed}\0{source}".encode()).digest())
    if text.limit:
        total, kept = 0, []
        for source in chosen:
            if total + len(by_source[source]) > text.limit:
                break
            total += len(by_source[source])
            kept.append(source)
        chosen = kept
    held = int(len(chosen) * text.held_out)
    for name in ("test", "validation"):
        if name not in splits:
            splits[name], chosen = [pair for source in chosen[:held] for pair in by_source[source]], chosen[held:]
    splits["train"] = [pair for source in chosen for pair in by_source[source]]
    return splits


def _enough(splits: dict[str, list[Pair]]) -> None:
    for name, least in FEWEST.items():
        if len(splits[name]) < least:
            raise UserError(
                f"The {name} split has {len(splits[name])} sentence pairs and needs at least {least}; "
                "give more data, or change text.limit or text.held_out."
            )


def _fits(pair: Pair, split: str, lengths: list[int], text: TextData, bad: BadRows) -> bool:
    longest = max(lengths)
    if longest > text.max_length - 2:
        bad.add(split, pair.row, f"overlong line ({longest} tokens where {text.max_length - 2} are allowed)")
        return False
    return True


def _save(stem: Path, sentences: list[list[int]], vocab_size: int) -> None:
    dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
    np.save(f"{stem}.npy", np.fromiter((token for s in sentences for token in s), dtype=dtype))
    np.save(f"{stem}_offsets.npy", np.cumsum([0] + [len(s) for s in sentences], dtype=np.int64))
