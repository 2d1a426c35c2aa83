"""Gradient norms by layer, for the journal: what post-norm and pre-norm differ in (Xiong et al. 2020, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stepladder.training.sharding import gather_full


def by_layer(model: nn.Module) -> dict[str, float]:
    """The gradient's Euclidean norm of each numbered layer, such as ``"encoder.0"``, in the order of the network.

    With fp16 the norms are those of the scaled loss.
    """
    layers: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
        if number is not None and parameter.grad is not None:
            layers.setdefault(".".join(parts[: number + 1]), []).append(parameter.grad)
    return {layer: float(gather_full(torch.nn.utils.get_total_norm(gradients))) for layer, gradients in layers.items()}
