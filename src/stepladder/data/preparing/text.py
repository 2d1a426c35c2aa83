"""Text in prepared form: token ids in memory-mapped arrays, the tokenizer, and a card; this module prepares pairs."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from stepladder.data import splits, texts
from stepladder.data.buckets import Sentences
from stepladder.data.card import PairLine, PairsCard, TextCard, held_out_hash, prepared
from stepladder.data.preparing import pairs
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.preparing.pairs import Pair
from stepladder.data.source import reading
from stepladder.data.tokenizer import tag, train
from stepladder.errors import UserError
from stepladder.params import Params, TextData
from stepladder.text_tasks.tasks import FORMS

FEWEST_HELD_OUT = 8


def prepare(params: Params, folder: Path) -> TextCard:
    """Prepare the text that ``params.text`` names, in ``folder``, for its task; returns the card.

    Files: ``tokenizer.json``, ``card.json`` and arrays, see the function that ``text_tasks.tasks`` names, such as
    ``prepare_pairs``. The same source gives the same bytes.

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, or too few rows.
    """
    card: TextCard = FORMS[params.text.task].prepare(params, folder)
    return card


def prepare_pairs(params: Params, folder: Path) -> PairsCard:
    """Prepare sentence pairs in ``folder``; returns the card.

    Files: for each split and side ``SPLIT_SIDE.npy`` (token ids, flat) and ``SPLIT_SIDE_offsets.npy`` ``(N + 1,)``; the raw
    pairs of each split but train as ``SPLIT.jsonl``, with all ``references`` where a source has several targets.
    """
    text = params.text
    bad = BadRows(text.on_bad_row, "text.on_bad_row")
    fingerprint = reading("text", text)
    source = pairs.read(text, bad)
    split = _split({name: _clean(rows, name, bad) for name, rows in source.splits.items()}, text, params.seed)
    bad.check_refused()
    tags = [tag(language) for language in text.target_languages] if len(text.target_languages) > 1 else []
    both_sides = (side for pair in split["train"] for side in (pair.source, pair.target))
    tokenizer = train(both_sides, text.tokenizer, text.vocab_size, tags)
    encoded = {name: _encode(rows, name, tokenizer, text, bad) for name, rows in split.items()}
    bad.check_refused()
    _check_counts(encoded, bad)

    trained_on = {row.pair.source for row in encoded["train"]}
    vocab_size = tokenizer.get_vocab_size()
    card: PairsCard = {
        "kind": "text",
        "task": text.task,
        "name": text.name or source.name,
        "source": source.origin,
        "licence": source.licence,
        "languages": {"source": text.source_language, "targets": list(text.target_languages)},
        "tokenizer": text.tokenizer,
        "vocab_size": vocab_size,
        "max_length": text.max_length,
        "counts": {name: len(rows) for name, rows in encoded.items()},
        "tokens_per_sentence": {
            name: {"mean": round(sum(lengths) / len(lengths), 3), "longest": max(lengths)}
            for name, rows in encoded.items()
            for lengths in [[len(row.target) for row in rows]]
        },
        # a published split may repeat training sentences; one made here never does
        "seen_in_training": {
            name: sum(row.pair.source in trained_on for row in rows)
            for name, rows in encoded.items()
            if name != "train"
        },
        "set_aside": bad.card(),
        "held_out_hash": held_out_hash([_line(row.pair) for row in encoded["test"]]),
    }
    with prepared(folder, card, made_of=fingerprint) as fresh:
        (fresh / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        for name, rows in encoded.items():
            Sentences.write(fresh / f"{name}_source", [row.source for row in rows], vocab_size)
            Sentences.write(fresh / f"{name}_target", [row.target for row in rows], vocab_size)
            if name != "train":
                written = "".join(json.dumps(_line(row.pair), ensure_ascii=False) + "\n" for row in rows)
                (fresh / f"{name}.jsonl").write_text(written, encoding="utf-8")
    return card


@dataclass(frozen=True)
class Encoded:
    """A sentence pair and its token ids, the source's with the language's tag where there are several."""

    pair: Pair
    source: list[int]
    target: list[int]


def _line(pair: Pair) -> PairLine:
    line: PairLine = {"source": pair.source, "target": pair.target, "language": pair.language}
    if pair.references:
        line["references"] = list(pair.references)
    return line


def _clean(rows: list[Pair], split: str, bad: BadRows) -> list[Pair]:
    cleaned = []
    for pair in rows:
        source, target = texts.tidy(pair.source), texts.tidy(pair.target)
        if texts.has_lone_surrogate(source + target):
            bad.add(split, pair.row, "not text (half of a surrogate pair)")
        elif source and target:
            references = tuple(r for r in map(texts.tidy, pair.references) if r)
            cleaned.append(Pair(source, target, pair.language, pair.row, references))
        else:
            bad.add(split, pair.row, f"empty line (in the {'source' if not source else pair.language})")
    return cleaned


def _split(by_split: dict[str, list[Pair]], text: TextData, seed: int) -> dict[str, list[Pair]]:
    """Missing test and validation splits taken from the training pairs, by source: no source is in two of them."""
    by_source: dict[str, list[Pair]] = {}
    for pair in by_split["train"]:
        by_source.setdefault(pair.source, []).append(pair)
    chosen = list(by_source)
    missing = [name for name in ("test", "validation") if name not in by_split]
    if missing:
        chosen = splits.shuffled(chosen, seed)
    if text.limit:
        total = itertools.accumulate(len(by_source[source]) for source in chosen)
        chosen = [source for source, so_far in zip(chosen, total, strict=True) if so_far <= text.limit]
    held_out = int(len(chosen) * text.held_out)
    split = dict(by_split)
    for name in missing:
        split[name], chosen = [pair for source in chosen[:held_out] for pair in by_source[source]], chosen[held_out:]
    split["train"] = [pair for source in chosen for pair in by_source[source]]
    return {name: split[name] for name in (*splits.WANTED, *splits.further(split))}


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


def _check_counts(encoded: dict[str, list[Encoded]], bad: BadRows) -> None:
    """Check that each split is enough to learn from or to judge by; ``params.fitting`` checks that a batch can be filled."""
    for name in ("train", "validation", "test"):
        least = 1 if name == "train" else FEWEST_HELD_OUT
        if len(encoded[name]) < least:
            raise UserError(
                f"The {name} split has {len(encoded[name])} sentence pairs{bad.note()} and needs at least "
                f"{least}; give more data, or raise text.limit or text.held_out."
            )
