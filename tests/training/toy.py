"""A regression with dropout: the smallest family that exercises the whole training loop."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from stepladder.description import Description
from stepladder.params import Params
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Task


class Toy(Description):
    kind: ClassVar[str] = "toy"
    family: str = "toy"
    width: int


class ToyTask(Task):
    def __init__(self, params: Params, die_at: int = -1) -> None:
        super().__init__()
        self.params, self.die_at = params, die_at
        self.model = nn.Sequential()
        for name, layer in (
            ("stem", nn.Linear(4, 16)),
            ("gelu", nn.GELU()),
            ("dropout", nn.Dropout(0.2)),
            ("head", nn.Linear(16, 1)),
        ):
            self.model.add_module(name, layer)
        self.description = Toy(width=16)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        if batch["position"] == self.die_at:
            raise RuntimeError("killed by the test")
        loss = nn.functional.mse_loss(self.model(batch["x"]), batch["y"])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("validation/loss", nn.functional.mse_loss(self.model(batch["x"]), batch["y"]))

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.params.diffusion.training)


DIE_AT = -1


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    training = params.diffusion.training

    def draw(k: int) -> dict[str, Any]:
        x = torch.randn(training.batch_size // training.accumulate, 4, generator=generator(params.seed, k))
        return {"position": k, "x": x[rank::world_size], "y": x.sum(1, keepdim=True)[rank::world_size]}

    return Experiment(ToyTask(params, DIE_AT), draw, [draw(10**6)])
