"""What a family of models trains: one contract, whoever runs the loop."""

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
        description: what the model's folder says of it; rebuilds ``model``.
        shardable: a step uses the weights only in ``model``'s forward, so that they may be sharded over ranks.
        find_unused_parameters: a step trains some of the parameters only; DDP then looks for those.
        layer_gradients: the journal gets the norm of each layer's gradient.
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
        """The loss of this rank's share of a micro-batch, whose ``position`` every random choice comes from."""

    @abstractmethod
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs figures named ``validation/...``, of a fixed batch and the same random choices every time."""

    @abstractmethod
    def configure_optimizers(self) -> Any:
        """As Lightning has it, see ``optim.configure``."""

    def loss(self, batch: Batch) -> Tensor:
        """Of families whose experiment has a ``largest`` batch: the same loss as in training, and nothing logged."""
        raise NotImplementedError

    def preview(self) -> Image.Image | None:
        """What the network makes at present, as one picture; None: nothing that can be looked at."""
        return None

    def finish(self, folder: Path) -> None:
        """Called once, with the averaged weights in place, before ``model`` is exported to ``folder``."""

    def compile_model(self) -> None:
        """Have ``model`` compiled at its first batch."""
        self.model.compile(dynamic=self.dynamic_shapes)
