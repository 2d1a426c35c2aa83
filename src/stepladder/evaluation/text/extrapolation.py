"""Beyond the training length: a causal model's loss by position (Press et al. 2022, "Train Short, Test Long")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder.transformer.networks.causal_lm import CausalLM


@torch.inference_mode()
def loss_by_position(model: CausalLM, tokens: Tensor, batch_size: int = 8) -> Tensor:
    """Mean loss in nats of predicting each position's token from all before it, ``(T - 1,)`` for positions 1 to ``T - 1``.

    Args:
        tokens: ``(N, T)`` running text without padding, longer than what the model was trained on.

    Raises:
        UserError: the model learned an embedding for each position, and ``tokens`` has more positions.
    """
    total = torch.zeros(tokens.shape[1] - 1, dtype=torch.float64, device=tokens.device)
    for rows in torch.split(tokens, batch_size):
        logits = model(rows[:, :-1]).float()
        total += F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none").sum(0)
    return total / len(tokens)


def extrapolation(
    model: CausalLM, text: Tensor, trained_on: int, multiples: Sequence[int] = (1, 2, 4)
) -> dict[int, float]:
    """Mean loss in nats a token of the last ``trained_on`` positions of windows that are 1, 2, 4 ... times as long.

    All windows end at the same places of ``text``, so that every loss is of the same tokens, with more and more context:
    a model that extrapolates does not get worse, and one that uses the longer context gets better.

    Args:
        text: ``(N,)``, at least ``max(multiples) * trained_on + 1`` tokens of running text.
        trained_on: tokens of a training block.

    Returns:
        The loss for each length of window in tokens; the longer windows are missing where the model learned its positions.
    """
    longest = max(multiples) * trained_on
    if model.embed.positions.learned:
        multiples = [1]
    windows = text.unfold(0, longest + 1, trained_on)
    result = {}
    for length in (multiple * trained_on for multiple in multiples):
        losses = loss_by_position(model, windows[:, -length - 1 :])
        result[length] = losses[-trained_on:].mean().item()
    return result
