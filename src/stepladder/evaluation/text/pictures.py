"""What is drawn of a language model: its attention to one text, its entropy by depth over several, its positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from stepladder.metrics.texts import Attention
from stepladder.transformer.attention_maps import attention_maps, entropy
from stepladder.transformer.blocks.positions import AbsolutePositions
from stepladder.transformer.networks.description import TextDescription
from stepladder.transformer.networks.trained import SpecialTokens

SHOWN = 12  # tokens of the text whose maps are shown, about
MEASURED = 64  # texts over which entropy is averaged, at most
POSITIONS = 64

Reading = Sequence[list[int]]  # what a model is given: a text, or a source and a target


def reading(tokenizer: Tokenizer, description: TextDescription, text: str, *_: object) -> Reading:
    """``text`` as a model is given it that reads its tokens alone."""
    return (tokenizer.encode(text, add_special_tokens=False).ids,)


def described(model: nn.Module, tokenizer: Tokenizer, shown: Reading, measured: Sequence[Reading] = ()) -> Attention:
    """The attention of ``model`` while it reads ``shown``, and its entropy over ``measured``."""
    eos = SpecialTokens.of(tokenizer).eos
    total: dict[str, Tensor] = {}
    for one in measured:
        for name, weights in attention_maps(model, *map(torch.tensor, one)).items():
            total[name] = total.get(name, torch.zeros(())) + entropy(weights) / len(measured)
    read, written = shown[0], [*shown[-1][1:], eos]
    tokens = {"encoder": (read, read), "decoder": (written, shown[-1]), "cross": (written, read)}
    return {
        "maps": {
            name: {
                "rows": [text_of(tokenizer, i) for i in tokens[name][0]],
                "columns": [text_of(tokenizer, i) for i in tokens[name][1]],
                "weights": _rounded(weights.tolist()),
            }
            for name, weights in attention_maps(model, *map(torch.tensor, shown)).items()
        },
        "entropy": {name: _rounded(values.tolist()) for name, values in total.items()},
    }


def positions(model: nn.Module) -> list[list[float]]:
    """The encodings of the first positions, ``[position][dimension]``; none where they are not added to embeddings."""
    found = next((m.table for m in model.modules() if isinstance(m, AbsolutePositions)), None)
    return [] if found is None else _rounded(found[:POSITIONS].tolist())


def nearest(tokenizer: Tokenizer, texts: list[str]) -> int:
    """The text that is shown: the first of those nearest to ``SHOWN`` tokens."""
    lengths = [len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return min(range(len(lengths)), key=lambda i: abs(lengths[i] - SHOWN))


def text_of(tokenizer: Tokenizer, token: int) -> str:
    """A token as a reader sees it."""
    return tokenizer.decode([token], skip_special_tokens=False) or tokenizer.id_to_token(token) or ""


def _rounded(values: Any) -> Any:
    return [_rounded(v) for v in values] if isinstance(values, list) else round(values, 4)
