"""Trains the classifier that judges pictures: a stage of its own.

Where the data has no classes it learns to tell by how many quarter turns a picture was turned (Gidaris et al. 2018; of
pictures that are not square, whether it was mirrored, turned upside down, or both): its features still describe
pictures, and there are no verdicts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.description import Data
from stepladder.errors import UserError
from stepladder.evaluation.pictures.feature_net import Classifier, FeatureNetDescription, FeatureNetwork
from stepladder.params import FeatureNet, Params
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Batch, Task


class FeatureNetTask(Task):
    """Cross entropy over classes, of pictures shifted by up to an eighth of their side."""

    description: FeatureNetDescription

    def __init__(self, description: FeatureNetDescription, section: FeatureNet, seed: int) -> None:
        super().__init__()
        self.description, self.section, self.seed = description, section, seed
        self.model = Classifier(**description.model.model_dump())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        random = generator(self.seed, batch["position"], device=self.device)
        x, labels = self._turned(batch["images"].float() / 127.5 - 1, batch["labels"])
        _, logits = self.model(_shifted(x, random))
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, labels = self._turned(batch["images"].float() / 127.5 - 1, batch["labels"])
        _, logits = self.model(x)
        right = (logits.argmax(1) == labels).float().mean()
        size: Any = float(len(labels))  # an int would be averaged over the ranks as one, and rounded down
        self.log("validation/accuracy", right, batch_size=size, sync_dist=True)
        self.log("validation/loss", F.cross_entropy(logits, labels), batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.section.training)

    def _turned(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.description.classes:
            return x, labels
        turned = x.clone()
        for k in range(1, 4):
            turned[k::4] = _turn(x[k::4], k)
        return turned, torch.arange(len(x), device=x.device) % 4


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The feature network's training on pictures prepared in ``data``; ``timesteps`` is not used."""
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    section = params.feature_net
    if section.width % 4:
        raise UserError(f"feature_net.width={section.width} is not a multiple of 4.")
    classes = train.card["classes"]
    network = FeatureNetwork(
        channels=train.card["shape"][0], width=section.width, features=section.features, classes=len(classes) or 4
    )
    description = FeatureNetDescription(model=network, classes=classes, data=Data.of(train.card))
    shuffle = Shuffle(len(train.labels), section.batch_size, params.seed)

    def micro_batch(k: int) -> Batch:
        return _batch(train, shuffle.rows(k)[rank::world_size]) | {"position": k}

    order = shuffle.all(len(test.labels))
    validation = [_batch(test, order[s : s + 512][rank::world_size]) for s in range(0, len(order), 512)]
    task = FeatureNetTask(description, section, params.seed)
    return Experiment(task, micro_batch, [batch for batch in validation if len(batch["labels"])])


def _turn(x: Tensor, k: int) -> Tensor:
    """``x`` after the ``k``-th of four motions that keep its shape; those of a square are quarter turns."""
    if x.shape[2] == x.shape[3]:
        return x.rot90(k, (2, 3))
    return x.flip([axis for axis, bit in ((2, 1), (3, 2)) if k & bit])


def _shifted(x: Tensor, random: torch.Generator) -> Tensor:
    """Each picture moved by up to an eighth of its side, its border repeated."""
    n, _, h, w = x.shape
    reach = max(1, h // 8)
    padded = F.pad(x, (reach,) * 4, mode="replicate")
    dy, dx = torch.randint(2 * reach + 1, (2, n), generator=random, device=x.device)
    rows = dy[:, None] + torch.arange(h, device=x.device)
    columns = dx[:, None] + torch.arange(w, device=x.device)
    picture = torch.arange(n, device=x.device)
    return padded.permute(0, 2, 3, 1)[picture[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _batch(arrays: ImageArrays, rows: Any) -> Batch:
    return {"images": torch.from_numpy(arrays.images[rows]), "labels": torch.from_numpy(arrays.labels[rows])}
