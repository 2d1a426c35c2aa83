"""BLEU of greedy translations of the validation sentences, for early stopping."""

from __future__ import annotations

from typing import Any

import torch
from sacrebleu.metrics.bleu import BLEU
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.transformer.inference.decoding import greedy
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import SpecialTokens

LONGER = 20  # tokens that a translation may be longer than the longest reference in its batch


class ValidationBLEU:
    """Corpus BLEU (Post 2018, cased) over batches and ranks: n-gram counts are added up, not scores.

    Args:
        languages: of the references. longest: tokens of a translation, at most.
    """

    def __init__(self, tokenizer: Tokenizer, special: SpecialTokens, languages: list[str], longest: int) -> None:
        self.tokenizer, self.special, self.longest = tokenizer, special, longest
        by_language = {"zh": "zh", "ja": "char"}
        self.metric = BLEU(tokenize=by_language.get(languages[0][:2], "13a") if len(languages) == 1 else "13a")
        self.counts = torch.zeros(2 + 2 * self.metric.max_ngram_order, dtype=torch.int64)

    @torch.inference_mode()
    def add(self, model: Seq2Seq, source: Tensor, wanted: Tensor) -> None:
        """Translate ``source`` ``(B, S)`` and compare with ``wanted`` ``(B, T)``, without rows that want no token."""
        rows = (wanted != self.special.pad).any(1)
        if not rows.any():
            return
        longest = min(wanted.shape[1] + LONGER, self.longest)
        token_ids = greedy(model, source[rows], bos=self.special.bos, eos=self.special.eos, max_length=longest)
        translations = self.tokenizer.decode_batch(token_ids)
        references = self.tokenizer.decode_batch(wanted[rows].tolist())
        statistics = self.metric._extract_corpus_statistics(translations, [references])
        self.counts += torch.tensor(statistics, dtype=torch.int64).sum(0)

    def score(self, strategy: Any, device: torch.device) -> float:
        """BLEU, from 0 to 100, of all that was added on all ranks; what was added is then forgotten."""
        total = strategy.reduce(self.counts.to(device), reduce_op="sum").tolist()
        self.counts.zero_()
        n = self.metric.max_ngram_order
        return float(BLEU.compute_bleu(total[2 : 2 + n], total[2 + n :], total[0], total[1], smooth_method="exp").score)
