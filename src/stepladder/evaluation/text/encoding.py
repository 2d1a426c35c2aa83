"""Held-out text in the tokens of the judged model, whose tokenizer need not be the one of the prepared data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.data.buckets import Sentences
from stepladder.data.card import PairLine
from stepladder.data.tokenizer import encode
from stepladder.transformer.inference.translation import tokens
from stepladder.transformer.networks.description import TranslationDescription
from stepladder.transformer.networks.trained import read_tokenizer


def same_tokenizer(tokenizer: Tokenizer, data: Path) -> bool:
    """Whether the text in ``data`` was prepared with this ``tokenizer``."""
    return bool(read_tokenizer(data / "tokenizer.json").to_str() == tokenizer.to_str())


def running(data: Path, split: str, text: str, tokenizer: Tokenizer) -> Tensor:
    """Token ids ``(N,)`` of the running ``text`` of ``split``."""
    if same_tokenizer(tokenizer, data):
        return torch.from_numpy(np.load(data / f"{split}.npy").astype(np.int64))
    return torch.tensor(encode(tokenizer, text))


@contextmanager
def pairs_of(
    data: Path, split: str, pairs: list[PairLine], tokenizer: Tokenizer, description: TranslationDescription
) -> Iterator[Path]:
    """A folder with the token ids of ``pairs``, those of ``split``; without pairs that are longer than the model can read."""
    if same_tokenizer(tokenizer, data):
        yield data
        return
    multilingual = len(description.target_languages) > 1
    encoded: list[tuple[list[int], list[int]]] = []
    for pair in pairs:
        (source,) = tokens(tokenizer, description, [pair["source"]], pair["language"] if multilingual else None)
        target = tokenizer.encode(pair["target"], add_special_tokens=False).ids
        if max(len(source), len(target) + 1) <= description.max_length:
            encoded.append((source[:-1], target))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, side in enumerate(("source", "target")):
            Sentences.write(folder / f"{split}_{side}", [pair[number] for pair in encoded], tokenizer.get_vocab_size())
        yield folder


def unigram(train: npt.NDArray[np.integer], vocab_size: int) -> npt.NDArray[np.float64]:
    """Nats of each token, from its count in ``train`` plus one."""
    counts = np.bincount(train, minlength=vocab_size) + 1.0
    nats: npt.NDArray[np.float64] = -np.log(counts / counts.sum())
    return nats
