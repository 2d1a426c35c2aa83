"""Gradient norms by layer, for the journal: what post-norm and pre-norm differ in (Xiong et al. 2020, figure 2)."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from stepladder.tasks.task import Task, network
from stepladder.training.sharding import whole


class LayerGradients(pl.Callback):
    """Logs ``gradient_norm/LAYER`` before clipping, at the first step and then ``every`` steps.

    Of tasks that say ``layer_gradients = True``. With fp16 the norms are those of the scaled loss.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        assert isinstance(pl_module, Task)
        step = trainer.global_step
        if pl_module.layer_gradients and (step == 0 or (step + 1) % self.every == 0):
            assert trainer.logger is not None
            trainer.logger.log_metrics(
                {f"gradient_norm/{layer}": norm for layer, norm in by_layer(network(pl_module)).items()}, step
            )


def by_layer(model: nn.Module) -> dict[str, float]:
    """The gradient's Euclidean norm of each numbered layer, such as ``"encoder.0"``, in the order of the network."""
    layers: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdecimal()), None)
        if number is not None and parameter.grad is not None:
            layers.setdefault(".".join(parts[: number + 1]), []).append(parameter.grad)
    return {layer: float(whole(torch.nn.utils.get_total_norm(gradients))) for layer, gradients in layers.items()}
