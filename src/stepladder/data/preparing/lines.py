"""Running text in prepared form: one long array of token ids a split."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

from stepladder.data import hub, splits, texts
from stepladder.data.buckets import token_type
from stepladder.data.card import LinesCard, held_out_hash, prepared
from stepladder.data.preparing import names
from stepladder.data.preparing.bad_rows import BadRows
from stepladder.data.source import local, reading
from stepladder.data.tokenizer import LINE, encode, train
from stepladder.errors import UserError
from stepladder.params import Params, TextData

FEWEST_TOKENS = 32  # in each split


def prepare(params: Params, folder: Path) -> LinesCard:
    """Prepare the running text that ``params.text`` names, in ``folder``; returns the card.

    Files: ``tokenizer.json``; for each split ``SPLIT.npy``, its token ids one after the other, and but for train
    ``SPLIT.txt``, the text itself. The card has the ``characters`` of each split as well as its tokens (``counts``).

    Raises:
        UserError: the source cannot be read, has a bad row that is refused, or too little text.
    """
    text = params.text
    bad = BadRows(text.on_bad_row, "text.on_bad_row")
    fingerprint = reading("text", text)
    name, origin, licence, text_by_split = _read(text, bad, params.seed)
    bad.check_refused()
    parts = _split(text_by_split, text)
    tokenizer = train(LINE.findall(parts["train"]), text.tokenizer, text.vocab_size, running=True)
    vocab_size = tokenizer.get_vocab_size()
    encoded = {split: encode(tokenizer, part) for split, part in parts.items()}
    for split, ids in encoded.items():
        if len(ids) < FEWEST_TOKENS:
            raise UserError(
                f"The {split} split has {len(ids)} tokens{bad.note()} and needs at least {FEWEST_TOKENS}; give more text, or "
                "raise text.limit or text.held_out."
            )
    card: LinesCard = {
        "kind": "text",
        "task": text.task,
        "name": text.name or name,
        "source": origin,
        "licence": licence,
        "tokenizer": text.tokenizer,
        "vocab_size": vocab_size,
        "max_length": text.max_length,
        "counts": {split: len(ids) for split, ids in encoded.items()},
        "characters": {split: len(part) for split, part in parts.items()},
        "set_aside": bad.card(),
        "held_out_hash": held_out_hash(parts["test"]),
    }
    with prepared(folder, card, made_of=fingerprint) as fresh:
        (fresh / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
        for split, ids in encoded.items():
            np.save(fresh / f"{split}.npy", np.array(ids, dtype=token_type(vocab_size)))
            if split != "train":
                (fresh / f"{split}.txt").write_bytes(parts[split].encode())
    return card


def _read(text: TextData, bad: BadRows, seed: int) -> tuple[str, str, str, dict[str, str]]:
    """Name, origin, licence and the text of each split that the source has."""
    if text.source == "names":
        rows = splits.shuffled(names.english(), seed)
        return "names", "pycountry (iso-codes gettext catalogues)", names.LICENCE, {"train": "\n".join(rows) + "\n"}
    path = local(text.source) or Path(text.source)
    if path.suffix in (".txt", ".text", ".md") or path.is_file():
        try:
            content = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); text.source must name a text file.") from None
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 (byte {error.start}); convert it.") from None
        return path.stem, f"file {path.name}", "the user's own", {"train": _clean(content)}
    data = hub.load(text.source, text.config, text.revision)
    text_by_split: dict[str, str] = {}
    for split, table in data.items():
        if name := splits.canonical(split):
            if text.text_column not in table.column_names:
                raise UserError(
                    f"Data set {text.source} has no column {text.text_column}; it has {', '.join(table.column_names)}: "
                    "name one of them in text.text_column."
                )
            text_by_split[name] = _joined(table[text.text_column], name, bad)
    if "train" not in text_by_split:
        raise UserError(f"text.source={text.source} has no split named train; it has {', '.join(data)}.")
    origin = f"Hugging Face data set {text.source}"
    return text.source.split("/")[-1], origin, hub.licence(text.source), text_by_split


def _joined(rows: Any, split: str, bad: BadRows) -> str:
    """Rows as one text; where there are several, each that does not end with a line break gets one."""
    contents = []
    for row, content in enumerate(rows):
        if not isinstance(content, str) or texts.has_lone_surrogate(content):
            bad.add(split, row, "not text" if not isinstance(content, str) else "not text (half of a surrogate pair)")
        else:
            contents.append(_clean(content))
    return contents[0] if len(contents) == 1 else "".join(row if row.endswith("\n") else row + "\n" for row in contents)


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))


def _split(by_split: dict[str, str], text: TextData) -> dict[str, str]:
    """The splits, missing ones taken from the end of train at line breaks; train cut to ``text.limit`` lines before."""
    parts = dict(by_split)
    lines = LINE.findall(parts["train"])
    lines = lines[: text.limit] if text.limit else lines
    missing = [name for name in ("test", "validation") if name not in parts]
    held_out = int(len(lines) * text.held_out)
    for name in missing:
        parts[name], lines = "".join(lines[len(lines) - held_out :]), lines[: len(lines) - held_out]
    parts["train"] = "".join(lines)
    return {name: parts[name] for name in (*splits.WANTED, *splits.further(parts))}
