"""The joint sub-word model of both sides, by the ``tokenizers`` library."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def tag(language: str) -> str:
    """The token before the source that says which language is wanted."""
    return f"<2{language}>"


def train(texts: Iterable[str], kind: str, vocab_size: int, tags: Iterable[str] = ()) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries learnt from ``texts`` (fewer where the texts hold no more).

    ``<pad>`` = 0, ``<s>`` = 1, ``</s>`` = 2, ``<unk>`` = 3, then ``tags``. Texts are NFC-normalised. A character that the
    texts do not have is spelt as its UTF-8 bytes, for which 256 entries come on top: every text can be read and
    written. Space is part of the sub-words (Kudo and Richardson 2018). ``kind`` is ``bpe`` (Sennrich et al. 2016),
    ``unigram`` (Kudo 2018) or ``char``.
    """
    special = [*SPECIAL, *tags]
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
            limit_alphabet=max(vocab_size - len(special), 1),
            min_frequency=2 if kind == "bpe" else 2**31,  # no pair is that frequent: single characters only
            show_progress=False,
        )
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(texts, trainer)
    return _with_bytes(tokenizer)


def _with_bytes(tokenizer: Tokenizer) -> Tokenizer:
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        vocabulary |= {byte: len(vocabulary) + i for i, byte in enumerate(BYTES)}
    else:
        lowest = min(score for _, score in vocabulary)
        vocabulary += [[byte, lowest - 10] for byte in BYTES]
    content["model"]["byte_fallback"] = True
    complete = Tokenizer.from_str(json.dumps(content))
    complete.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return complete
