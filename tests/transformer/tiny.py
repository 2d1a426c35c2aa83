"""A tiny model with random weights, for the properties that hold of any weights."""

from typing import Any, TypeVar

import torch
from torch import nn

from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.seq2seq import Seq2Seq

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 23
# one of each mechanism, and some together
MECHANISMS: dict[str, dict[str, Any]] = {
    "sinusoidal": {},
    "learned": {"positions": "learned", "max_length": 64},
    "rotary": {"positions": "rotary"},
    "alibi": {"positions": "alibi"},
    "none": {"positions": "none"},
    "grouped": {"kv_heads": 2},
    "one key head, rotary": {"kv_heads": 1, "positions": "rotary"},
    "grouped, alibi, unscaled": {"kv_heads": 2, "positions": "alibi", "attention_scale": "none"},
    "learned scale, rms, swiglu": {"attention_scale": "learned", "norm_type": "rms", "activation": "swiglu"},
}
Network = TypeVar("Network", bound=nn.Module)


def model(seed: int = 0, norm: str = "pre", tied: bool = True, **options: Any) -> Seq2Seq:
    torch.manual_seed(seed)
    return perturbed(Seq2Seq(VOCABULARY, 16, 32, 4, 2, 2, 0.1, norm, tied, PAD, **({"max_length": 8} | options)))


def causal_lm(seed: int = 0, **options: Any) -> CausalLM:
    torch.manual_seed(seed)
    return perturbed(CausalLM(VOCABULARY, 16, 32, 4, 2, 0.1, PAD, **({"max_length": 8} | options)))


def masked_lm(seed: int = 0, **options: Any) -> MaskedLM:
    torch.manual_seed(seed)
    return perturbed(MaskedLM(VOCABULARY, 16, 32, 4, 2, 0.1, PAD, **({"max_length": 8} | options)))


def classifier(seed: int = 0, classes: int = 3, **options: Any) -> TextClassifier:
    torch.manual_seed(seed)
    max_length = options.pop("max_length", 8)
    return perturbed(TextClassifier(VOCABULARY, 16, 32, 4, 2, 0.1, PAD, max_length, classes, **options))


def perturbed(network: Network) -> Network:
    """In evaluation, no weight left where initialisation put it: no bias 0, no gain 1."""
    with torch.no_grad():
        for parameter in (p for p in network.parameters() if p.requires_grad):
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return network.eval()


def sentences(lengths: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.full((len(lengths), max(lengths)), PAD)
    for i, length in enumerate(lengths):
        rows[i, :length] = torch.randint(3, VOCABULARY, (length,), generator=generator)
    return rows
