"""BPE-dropout: words cut differently each time (Provilkov et al. 2020), as a pure function of (seed, k).

The reference leaves merges out at random each time a word is read. Here a word is cut so in ``VARIANTS`` ways when it is first
read, and each time one of them is drawn: the distribution is the paper's, of which a word has a sample. So a word costs its merges
once, and a batch is a look-up.
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
    """Cuts the words of ``sentences`` anew.

    Args:
        tokenizer: byte-pair encoding that made them.
        share: of merges that are left out at each turn.
        longest: tokens of a sentence; one that would have more stays as it was.
    """

    def __init__(self, tokenizer: Tokenizer, sentences: Sentences, share: float, seed: int, longest: int) -> None:
        model = json.loads(tokenizer.to_str())["model"]
        self.share, self.seed, self.longest = share, seed, longest
        self.ids: dict[str, int] = model["vocab"]
        self.pieces = {number: piece for piece, number in self.ids.items()}
        merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        self.ranks = {(left, right): rank for rank, (left, right) in enumerate(merges)}
        self.whole = {self.ids[byte] for byte in BYTES} | {i for i, p in self.pieces.items() if _special(p)}
        self.sentences = sentences
        self.words: list[Word] = []
        self.text = self._read(sentences)
        self._first = np.full(len(self.words), -1)  # of each word that has been cut: the number of its first variant
        self._known = Sentences(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))  # all variants so far

    def draw(self, rows: Rows, *stream: int) -> Sentences:
        """Sentences ``rows``, cut as the stream of randomness ``stream`` says."""
        numbers, counts = self.text.tokens[_inside(self.text, rows)], self.text.lengths[rows]
        self._cut_first(np.unique(numbers[self._first[numbers] < 0]))
        variants = np.random.default_rng((self.seed, 3, *stream)).integers(VARIANTS, size=len(numbers))
        chosen = self._first[numbers] + variants
        lengths = np.add.reduceat(np.append(self._known.lengths[chosen], 0), np.append(0, counts.cumsum()[:-1])) * (
            counts > 0
        )
        tokens = self._known.tokens[_inside(self._known, chosen)]
        cut = Sentences(tokens, np.append(0, lengths.cumsum()))
        if not (lengths > self.longest).any():
            return cut
        kept = [
            (self.sentences, row) if length > self.longest else (cut, i)
            for i, (row, length) in enumerate(zip(rows, lengths, strict=True))
        ]
        found = [np.asarray(s.tokens[s.offsets[i] : s.offsets[i + 1]], dtype=np.int64) for s, i in kept]
        return Sentences(np.concatenate(found), np.cumsum([0, *map(len, found)]))

    def cut(self, word: Word, chance: random.Random, share: float) -> Word:
        """``word`` cut anew: of its possible merges the first by rank, again and again, each left out with chance ``share``."""
        symbols = list("".join(self.pieces[token] for token in word))
        if not self.whole.isdisjoint(word) or any(symbol not in self.ids for symbol in symbols):
            return word
        while len(symbols) > 1:
            known = ((self.ranks.get(pair, -1), i) for i, pair in enumerate(pairwise(symbols)))
            best = min((m for m in known if m[0] >= 0 and chance.random() >= share), default=None)
            if best is None:
                break
            symbols[best[1] : best[1] + 2] = [symbols[best[1]] + symbols[best[1] + 1]]
        return tuple(self.ids[symbol] for symbol in symbols)

    def _read(self, sentences: Sentences) -> Sentences:
        """Each sentence as numbers of ``self.words``, the tokens of a word together."""
        starts = np.array([self.pieces[i].startswith(SPACE) for i in range(len(self.pieces))])[sentences.tokens]
        starts[sentences.offsets[:-1][sentences.lengths > 0]] = True
        begins = np.flatnonzero(starts)
        ids = np.asarray(sentences.tokens).tolist()
        number: dict[Word, int] = {}
        text = [number.setdefault(tuple(ids[a:b]), len(number)) for a, b in pairwise([*begins.tolist(), len(ids)])]
        self.words = list(number)
        return Sentences(np.array(text, dtype=np.int64), np.searchsorted(begins, sentences.offsets))

    def _cut_first(self, numbers: Rows) -> None:
        """Cut words ``numbers``, in all their variants, which depend on the word and the seed alone."""
        if not len(numbers):
            return
        fresh: list[Word] = []
        for number in numbers.tolist():
            word = self.words[number]
            chance = random.Random(f"{self.seed} {word}")
            fresh += [self.cut(word, chance, self.share) for _ in range(VARIANTS)]
        self._first[numbers] = len(self._known) + VARIANTS * np.arange(len(numbers))
        tokens = np.fromiter((token for word in fresh for token in word), dtype=np.int64)
        ends = self._known.offsets[-1] + np.cumsum([len(word) for word in fresh])
        self._known = Sentences(
            np.concatenate([self._known.tokens, tokens]), np.concatenate([self._known.offsets, ends])
        )


def _inside(sentences: Sentences, rows: Rows) -> Rows:
    """Where the tokens of sentences ``rows`` are, one sentence after the other."""
    lengths = sentences.lengths[rows]
    before = np.append(0, lengths.cumsum()[:-1])
    return np.repeat(sentences.offsets[rows] - before, lengths) + np.arange(lengths.sum())


def _special(piece: str) -> bool:
    return piece.startswith("<") and piece.endswith(">") and len(piece) > 2
