"""AdamW and the learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stepladder.errors import UserError
from stepladder.params import Training


def factor(step: int, training: Training) -> float:
    """Learning rate at ``step`` (0-based), as a share of the peak.

    Linear warm-up over ``warmup_steps``, then ``constant``; ``linear`` or ``cosine`` to ``final_learning_rate`` at ``steps``;
    or ``inverse_sqrt`` and ``noam`` (Vaswani et al. 2017, section 5.3, scaled so that the peak is 1; see ``peak``).
    """
    warmup = training.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if training.schedule in ("inverse_sqrt", "noam"):
        return math.sqrt(max(warmup, 1) / max(step + 1, 1))
    share = min((step - warmup) / max(training.steps - warmup, 1), 1.0)
    course = {"constant": 1.0, "linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[training.schedule]
    return training.final_learning_rate + (1 - training.final_learning_rate) * course


def peak(model: nn.Module, training: Training) -> float:
    """The highest learning rate: ``learning_rate``; of ``noam`` that times ``(d_model warmup_steps)^-0.5``.

    ``noam`` is equation 3 of Vaswani et al. (2017) with ``learning_rate`` as its factor. ``UserError`` where the model has no
    width ``d_model``.
    """
    if training.schedule != "noam":
        return training.learning_rate
    width = getattr(getattr(model, "options", None), "d_model", None)
    if width is None:
        raise UserError(
            "schedule=noam divides by a Transformer's width; choose inverse_sqrt, which is the same course."
        )
    return float(training.learning_rate * (width * training.warmup_steps) ** -0.5)


def configure(model: nn.Module, training: Training) -> Any:
    """What ``LightningModule.configure_optimizers`` returns: AdamW with decay on matrices only, and the schedule."""
    return adamw({model: peak(model, training)}, training)


def adamw(peaks: Mapping[nn.Module, float], training: Training, beta1: float = 0.9) -> Any:
    """The same for several networks, each with its own highest learning rate."""
    groups = [
        {"params": [p for p in model.parameters() if p.requires_grad and (p.ndim >= 2) == matrices], "lr": rate, "weight_decay": decay}
        for model, rate in peaks.items()
        for matrices, decay in ((True, training.weight_decay), (False, 0.0))
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, betas=(beta1, training.beta2), fused=True)
    # Lightning refuses to clip a fused optimiser's gradients under autocast, since that could divide by the loss scale.
    # With this flag off, the scaler of fp16 does so before the clipping, as for any other, and bf16 has no scale.
    optimizer._step_supports_amp_scaling = False
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, training))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
