"""AdamW and the learning rate's course."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from stepladder.params import Training


def factor(step: int, training: Training) -> float:
    """Learning rate at ``step`` (0-based), as a share of the peak.

    Linear warm-up over ``warmup_steps``, then ``constant``; ``linear`` or ``cosine`` to 0 at ``steps``; or
    ``inverse_sqrt`` (Vaswani et al. 2017, section 5.3, scaled so that the peak is 1).
    """
    warmup = training.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if training.schedule == "inverse_sqrt":
        return math.sqrt(max(warmup, 1) / max(step + 1, 1))
    share = min((step - warmup) / max(training.steps - warmup, 1), 1.0)
    return {"constant": 1.0, "linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[training.schedule]


def configure(model: nn.Module, training: Training) -> dict[str, Any]:
    """What ``LightningModule.configure_optimizers`` returns: AdamW with decay on matrices only, and the schedule."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(
        p.device.type == "cpu" for p in parameters
    )  # Lightning clips no gradients of a fused one under autocast
    optimizer = torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, training.beta2), fused=fused)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, training))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
