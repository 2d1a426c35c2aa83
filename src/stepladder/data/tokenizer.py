"""The joint sub-word model of both sides, by the ``tokenizers`` library."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPACE = "\u2581"
STAND_IN = "\ufdd0"  # for a SPACE in the text; Unicode keeps this code point free of any character

LINE = re.compile(r"[^\n]*\n+|[^\n]+")  # a line with the breaks that follow it


def tag(language: str) -> str:
    """The token before the source that says which language is wanted."""
    return f"<2{language}>"


def train(
    texts: Iterable[str], kind: str, vocab_size: int, tags: Iterable[str] = (), *, running: bool = False
) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries learnt from ``texts`` (fewer where the texts hold no more).

    ``<pad>`` = 0, ``<s>`` = 1, ``</s>`` = 2, ``<unk>`` = 3, then ``tags``: no text is encoded to
    these, even where it spells their names, and decoding leaves them out. Texts are NFC-normalised. A character that is not
    in the vocabulary is spelt as its UTF-8 bytes, for which 256 entries are added: every text can be encoded and decoded
    (except a space at its beginning). Space is part of the sub-words (Kudo and Richardson 2018). At most half of the
    vocabulary are single characters, the most frequent ones. ``kind`` is ``bpe`` (Sennrich et al. 2016), ``unigram`` (Kudo
    2018) or ``char``. The same texts give the same bytes.

    Args:
        running: texts are pieces of running text: no space is put before them, so that decoding gives back every character,
            and line breaks are separate tokens.
    """
    special = [*SPECIAL, *tags]
    normalised = [unicodedata.normalize("NFC", text) for text in texts]
    characters = Counter(character for text in normalised for character in text if not character.isspace())
    max_characters = vocab_size - len(special) if kind == "char" else vocab_size // 2
    frequent = sorted(characters, key=lambda character: (-characters[character], character))[: max_characters - 1]
    rare = {ord(character): " " for character in set(characters) - set(frequent)}
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        trainer: trainers.Trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            min_frequency=2 if kind == "bpe" else 2**31,  # no pair is that frequent: single characters only
            show_progress=False,
        )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(SPACE, STAND_IN)])
    # "<" on its own, so that no text is taken for the name of a byte or of a special token
    scheme = "never" if running else "always"
    separators: list[str | Regex] = ["<", Regex("\n+")] if running else ["<"]
    isolated = [pre_tokenizers.Split(mark, "isolated") for mark in separators]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(SPACE, scheme), *isolated])
    tokenizer.train_from_iterator((text.translate(rare) for text in normalised), trainer)
    return _complete(json.loads(tokenizer.to_str()), special, scheme)


class _Model(TypedDict):
    vocab: dict[str, int] | list[tuple[str, float]]
    byte_fallback: bool


class _Content(TypedDict):
    """The parts of a tokenizer's JSON that are changed."""

    model: _Model
    added_tokens: list[object]


def _complete(content: _Content, special: list[str], scheme: str) -> Tokenizer:
    """The learnt tokenizer in a canonical order, with entries for bytes."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary |= {byte: len(vocabulary) + i for i, byte in enumerate(BYTES)}
    else:
        content["model"]["vocab"] = [*vocabulary[: len(special)], *_canonical(vocabulary[len(special) :])]
    content["model"]["byte_fallback"] = True
    content["added_tokens"] = []  # they would be looked for in every text
    complete = Tokenizer.from_str(json.dumps(content))
    complete.decoder = decoders.Sequence(
        [
            *(decoders.Replace(token, "") for token in special),
            decoders.ByteFallback(),
            decoders.Metaspace(SPACE, scheme),
            decoders.Replace(STAND_IN, SPACE),
        ]
    )
    return complete


def _canonical(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Pieces of a unigram model, and bytes, in an order and with scores that depend on nothing but the texts.

    The library appends the characters that its model dropped, with scores 0.0001 apart, in no fixed order: here all of them
    get the lowest score. Scores are sums in no fixed order, too, and agree to some twelve digits.
    """
    lowest = min(score for _, score in pieces)
    band = lowest + 1e-4 * sum(len(piece) == 1 for piece, _ in pieces)
    levelled = ((piece, lowest if len(piece) == 1 and score <= band else score) for piece, score in pieces)
    ordered = sorted(((piece, round(score, 6)) for piece, score in levelled), key=lambda p: (-p[1], p[0]))
    return [*ordered, *((byte, round(lowest - 10, 6)) for byte in BYTES)]


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of running ``text``, line by line: no token goes across a line break."""
    return [i for e in tokenizer.encode_batch(LINE.findall(text), add_special_tokens=False) for i in e.ids]
