"""What every layer and head attends to, recorded while a model reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from stepladder.transformer.blocks.attention import CrossAttention, SelfAttention, attention

Attention = TypeVar("Attention", SelfAttention, CrossAttention)


@torch.inference_mode()
def attention_maps(model: nn.Module, *tokens: Tensor) -> dict[str, Tensor]:
    """The attention weights of ``model`` on one text: ``tokens`` ``(T,)``, or a source ``(S,)`` and a target ``(T,)``.

    Returns:
        By kind, ``(layers, heads, queries, keys)``, rows summing to 1: ``encoder`` (its self-attention), ``decoder`` (its
        self-attention, causal) and ``cross`` (the decoder's to the encoder); those that the model has.
    """
    kinds: dict[str, list[SelfAttention] | list[CrossAttention]] = {
        "encoder": _modules(model, "encoder", SelfAttention),
        "decoder": _modules(model, "decoder", SelfAttention),
        "cross": _modules(model, "decoder", CrossAttention),
    }
    with _recording([m for modules in kinds.values() for m in modules]) as recorded:
        model(*(t[None] for t in tokens))
    return {kind: torch.stack([recorded[m] for m in modules]) for kind, modules in kinds.items() if modules}


def entropy(weights: Tensor) -> Tensor:
    """Mean entropy in nats of the rows of ``weights`` ``(layers, heads, T, S)``: ``(layers, heads)``.

    0 is looking at one token only; the logarithm of the number of keys is looking at all of them equally.
    """
    result: Tensor = torch.special.entr(weights).sum(-1).mean(-1)
    return result


def _modules(model: nn.Module, part: str, kind: type[Attention]) -> list[Attention]:
    network = getattr(model, part, None)
    return [m for m in network.modules() if isinstance(m, kind)] if isinstance(network, nn.Module) else []


@contextmanager
def _recording(modules: list[SelfAttention | CrossAttention]) -> Iterator[dict[nn.Module, Tensor]]:
    """The weights ``(heads, T, S)`` of each module's last attention, of a batch of one."""
    recorded: dict[nn.Module, Tensor] = {}
    original = {module: module.attend for module in modules}

    def record(module: nn.Module, *arguments: Any) -> Tensor:
        output, weights = attention(*arguments)
        recorded[module] = weights[0]
        return output

    try:
        for module in modules:
            module.attend = partial(record, module)
        yield recorded
    finally:
        for module, attend in original.items():
            module.attend = attend
