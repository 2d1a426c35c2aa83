"""BPE-dropout: words cut differently each time (Provilkov et al. 2020), as a pure function of (seed, k).

The reference leaves merges out at random each time a word is read. Here a word is cut in this way ``VARIANTS`` times when
it is first read, and each reading picks one of these variants, which are a sample from the paper's distribution. So the
merges of a word are computed once, and a batch is a look-up.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

from stepladder.data.buckets import Rows, Sentences
from stepladder.data.tokenizer import BYTES, SPACE

VARIANTS = 32
Word = tuple[int, ...]


class BPEDropout:
    """Cuts the words of ``sentences`` differently each time.

    Args:
        tokenizer: byte-pair encoding that made them.
        share: chance that a possible merge is left out, each time.
        longest: most tokens of a sentence; one that would have more keeps its usual cut.
    """

    def __init__(self, tokenizer: Tokenizer, sentences: Sentences, share: float, seed: int, longest: int) -> None:
        model = json.loads(tokenizer.to_str())["model"]
        self.share, self.seed, self.longest = share, seed, longest
        self.ids: dict[str, int] = model["vocab"]
        self.pieces = {number: piece for piece, number in self.ids.items()}
        merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        self.ranks = {(left, right): rank for rank, (left, right) in enumerate(merges)}
        self.atomic = {self.ids[byte] for byte in BYTES} | {i for i, p in self.pieces.items() if _is_special(p)}
        self.sentences = sentences
        self.words: list[Word] = []
        self.text = self._number_words(sentences)
        self._first_variant = np.full(len(self.words), -1)  # of each word its first variant; -1: not cut yet
        self._variants = Sentences(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))  # all variants so far

    def draw(self, rows: Rows, *stream: int) -> Sentences:
        """Sentences ``rows``, cut as the stream of randomness ``stream`` says."""
        numbers, counts = self.text.tokens[_token_positions(self.text, rows)], self.text.lengths[rows]
        self._cut_variants(np.unique(numbers[self._first_variant[numbers] < 0]))
        variants = np.random.default_rng((self.seed, 3, *stream)).integers(VARIANTS, size=len(numbers))
        chosen = self._first_variant[numbers] + variants
        lengths = np.add.reduceat(np.append(self._variants.lengths[chosen], 0), np.append(0, counts.cumsum()[:-1])) * (
            counts > 0
        )
        tokens = self._variants.tokens[_token_positions(self._variants, chosen)]
        cut = Sentences(tokens, np.append(0, lengths.cumsum()))
        if not (lengths > self.longest).any():
            return cut
        origins = [
            (self.sentences, row) if length > self.longest else (cut, i)
            for i, (row, length) in enumerate(zip(rows, lengths, strict=True))
        ]
        parts = [np.asarray(s.tokens[s.offsets[i] : s.offsets[i + 1]], dtype=np.int64) for s, i in origins]
        return Sentences(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def cut(self, word: Word, chance: random.Random, share: float) -> Word:
        """``word`` cut anew: the possible merge of lowest rank, again and again, each left out with chance ``share``."""
        symbols = list("".join(self.pieces[token] for token in word))
        if not self.atomic.isdisjoint(word) or any(symbol not in self.ids for symbol in symbols):
            return word
        while len(symbols) > 1:
            merges = ((self.ranks.get(pair, -1), i) for i, pair in enumerate(pairwise(symbols)))
            best = min((m for m in merges if m[0] >= 0 and chance.random() >= share), default=None)
            if best is None:
                break
            symbols[best[1] : best[1] + 2] = [symbols[best[1]] + symbols[best[1] + 1]]
        return tuple(self.ids[symbol] for symbol in symbols)

    def _number_words(self, sentences: Sentences) -> Sentences:
        """Each sentence as numbers of ``self.words``, the tokens of a word together."""
        starts = np.array([self.pieces[i].startswith(SPACE) for i in range(len(self.pieces))])[sentences.tokens]
        starts[sentences.offsets[:-1][sentences.lengths > 0]] = True
        begins = np.flatnonzero(starts)
        ids = np.asarray(sentences.tokens).tolist()
        number: dict[Word, int] = {}
        text = [number.setdefault(tuple(ids[a:b]), len(number)) for a, b in pairwise([*begins.tolist(), len(ids)])]
        self.words = list(number)
        return Sentences(np.array(text, dtype=np.int64), np.searchsorted(begins, sentences.offsets))

    def _cut_variants(self, numbers: Rows) -> None:
        """Cut words ``numbers``, in all their variants, which depend on the word and the seed alone."""
        if not len(numbers):
            return
        variants: list[Word] = []
        for number in numbers.tolist():
            word = self.words[number]
            chance = random.Random(f"{self.seed} {word}")
            variants += [self.cut(word, chance, self.share) for _ in range(VARIANTS)]
        self._first_variant[numbers] = len(self._variants) + VARIANTS * np.arange(len(numbers))
        tokens = np.fromiter((token for word in variants for token in word), dtype=np.int64)
        ends = self._variants.offsets[-1] + np.cumsum([len(word) for word in variants])
        self._variants = Sentences(
            np.concatenate([self._variants.tokens, tokens]), np.concatenate([self._variants.offsets, ends])
        )


def _token_positions(sentences: Sentences, rows: Rows) -> Rows:
    """Positions of the tokens of sentences ``rows``, one sentence after the other."""
    lengths = sentences.lengths[rows]
    before = np.append(0, lengths.cumsum()[:-1])
    return np.repeat(sentences.offsets[rows] - before, lengths) + np.arange(lengths.sum())


def _is_special(piece: str) -> bool:
    return piece.startswith("<") and piece.endswith(">") and len(piece) > 2
