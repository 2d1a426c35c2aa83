"""The contract of every family's task, whatever code runs the training loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from PIL import Image
from torch import Tensor, nn

from stepladder.description import Description

Batch = dict[str, Any]


class Task(pl.LightningModule, ABC):
    """A network, its loss and its optimiser. It is a plain LightningModule: any ``pl.Trainer`` trains it.

    Attributes:
        model: the plain network that is averaged and exported.
        description: that of the model's folder, from which ``model`` can be rebuilt.
        shardable: a step uses the weights only in ``model``'s forward, so that they may be sharded over ranks.
        find_unused_parameters: a step trains only some of the parameters; DDP then looks for the others.
        layer_gradients: the norm of each layer's gradient is written to the journal.
        dynamic_shapes: whether one compiled graph is to serve batches of many shapes; None: the compiler finds out.
    """

    model: nn.Module
    description: Description
    shardable: ClassVar[bool] = False
    find_unused_parameters: ClassVar[bool] = False
    layer_gradients: ClassVar[bool] = False
    dynamic_shapes: ClassVar[bool | None] = None

    @abstractmethod
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this rank's share of a micro-batch, all of whose random numbers depend on its ``position``."""

    @abstractmethod
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log metrics named ``validation/...`` of a fixed batch, with the same random numbers every time."""

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """Lightning's hook, see ``optim.configure``."""

    def loss(self, batch: Batch) -> Tensor:
        """The loss as in training, without logging; for families whose experiment has a ``largest`` batch."""
        raise NotImplementedError

    def preview(self) -> Image.Image | None:
        """A picture of what the network now generates or predicts; None: the task has no preview."""
        return None

    def finish(self, folder: Path) -> None:
        """Called once, with the averaged weights in place, before ``model`` is exported to ``folder``."""

    def compile_model(self) -> None:
        """Compile ``model``, at its first batch."""
        self.model.compile(dynamic=self.dynamic_shapes)
