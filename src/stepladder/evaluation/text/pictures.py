"""What is plotted of a language model: its attention to one text, the entropy by depth over several, its positions."""

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

SHOWN = 12  # the text whose maps are plotted has about so many tokens
MEASURED = 64  # the entropy is averaged over at most so many texts
POSITIONS = 64

Reading = Sequence[list[int]]  # the token ids that a model reads: a text, or a source and a target


def reading(tokenizer: Tokenizer, description: TextDescription, text: str, *_: object) -> Reading:
    """``text`` as token ids, for a model that reads them alone."""
    return (tokenizer.encode(text, add_special_tokens=False).ids,)


def described(model: nn.Module, tokenizer: Tokenizer, plotted: Reading, measured: Sequence[Reading] = ()) -> Attention:
    """The attention of ``model`` while it reads ``plotted``, and the entropy of it over ``measured``."""
    eos = SpecialTokens.of(tokenizer).eos
    entropies: dict[str, Tensor] = {}
    for reading_ids in measured:
        for name, weights in attention_maps(model, *map(torch.tensor, reading_ids)).items():
            entropies[name] = entropies.get(name, torch.zeros(())) + entropy(weights) / len(measured)
    source, target = plotted[0], [*plotted[-1][1:], eos]
    tokens = {"encoder": (source, source), "decoder": (target, plotted[-1]), "cross": (target, source)}
    return {
        "maps": {
            name: {
                "rows": [text_of(tokenizer, i) for i in tokens[name][0]],
                "columns": [text_of(tokenizer, i) for i in tokens[name][1]],
                "weights": _rounded(weights.tolist()),
            }
            for name, weights in attention_maps(model, *map(torch.tensor, plotted)).items()
        },
        "entropy": {name: _rounded(values.tolist()) for name, values in entropies.items()},
    }


def positions(model: nn.Module) -> list[list[float]]:
    """The encodings of the first positions, ``[position][dimension]``; empty where none are added to embeddings."""
    table = next((m.table for m in model.modules() if isinstance(m, AbsolutePositions)), None)
    return [] if table is None else _rounded(table[:POSITIONS].tolist())


def nearest(tokenizer: Tokenizer, texts: list[str]) -> int:
    """Index of the text that is plotted: the first of those nearest to ``SHOWN`` tokens."""
    lengths = [len(e.ids) for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return min(range(len(lengths)), key=lambda i: abs(lengths[i] - SHOWN))


def text_of(tokenizer: Tokenizer, token: int) -> str:
    """A token as readable text."""
    return tokenizer.decode([token], skip_special_tokens=False) or tokenizer.id_to_token(token) or ""


def _rounded(values: Any) -> Any:
    return [_rounded(v) for v in values] if isinstance(values, list) else round(values, 4)
