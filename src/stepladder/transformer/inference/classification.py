"""A trained classifier of texts in use: texts in, the probability of each class out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stepladder.errors import UserError
from stepladder.transformer.inference.translation import pad_rows
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.description import TextClassifierDescription
from stepladder.transformer.networks.trained import SpecialTokens

TOGETHER = 64  # texts classified at once


@torch.inference_mode()
def classify(
    model: TextClassifier, tokenizer: Tokenizer, description: TextClassifierDescription, texts: list[str]
) -> Tensor:
    """Probabilities ``(N, C)`` of ``description.classes`` for each of ``texts``, in their order.

    Raises:
        UserError: a text is longer than the model was trained for.
    """
    special, device = SpecialTokens.of(tokenizer), next(model.parameters()).device
    encoded = encode(tokenizer, texts)
    for number, ids in enumerate(encoded, 1):
        if len(ids) > description.max_length:
            raise UserError(f"Text {number} has {too_long(len(ids), description)}")
    probs = torch.empty(len(texts), len(description.classes))
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    for start in range(0, len(order), TOGETHER):
        rows = order[start : start + TOGETHER]
        probs[rows] = model(pad_rows([encoded[i] for i in rows], special.pad).to(device)).float().softmax(-1).cpu()
    return probs


def answer(
    loaded: tuple[Any, Any, Any], texts: list[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """The likeliest class of each of ``texts`` by a classifier that is ``loaded``, and its probability."""
    best, classes = classify(*loaded, texts).max(dim=1), loaded[2].classes
    return {"label": [classes[i] for i in best.indices.tolist()], "probability": best.values.double().tolist()}


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Tokens of each of ``texts`` as the model reads them: beginning, text, end."""
    special = SpecialTokens.of(tokenizer)
    return [[special.bos, *e.ids, special.eos] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def too_long(length: int, description: TextClassifierDescription) -> str:
    """The end of a sentence on a text of ``length`` tokens."""
    return f"{length} tokens; the model reads up to {description.max_length}: shorten it, or train with a larger text.max_length."
