"""Trains the classifier that judges pictures: a separate stage.

Where the data has no classes, it learns to predict by how many quarter turns a picture was turned (Gidaris et al. 2018; of
pictures that are not square, whether it was mirrored, turned upside down, or both): its features still describe
pictures, and there are no verdicts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.data.image_arrays import scaled
from stepladder.description import Data
from stepladder.evaluation.pictures.feature_net import Classifier, FeatureNetDescription, FeatureNetwork
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.pictures import Pictures, PictureTask
from stepladder.tasks.task import Batch

VALIDATION_BATCH = 512  # pictures


class FeatureNetTask(PictureTask):
    """Cross entropy over classes, of pictures shifted by up to an eighth of their side."""

    description: FeatureNetDescription

    def __init__(
        self, description: FeatureNetDescription, training: Training, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(description, training, seed, rank, world_size)
        self.model = Classifier(**description.model.model_dump())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        x, labels = self._labelled(batch)
        _, random = self.generators(batch["position"])
        max_shift = _max_shift(x)
        dy, dx = self.sample_for_ranks(
            partial(torch.randint, -max_shift, max_shift + 1), (2, batch["size"]), random, dim=1
        )
        _, logits = self.model(_shifted(x, dy, dx))
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, labels = self._labelled(batch)
        _, logits = self.model(x)
        accuracy = (logits.argmax(1) == labels).float().mean()
        self.log_validation(batch, accuracy=accuracy, loss=F.cross_entropy(logits, labels))

    def _labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures ``(n, C, H, W)`` and labels ``(n,)``: the classes; without classes, the pictures turned, and the turn of each."""
        x = scaled(batch["images"])
        if self.description.classes:
            return x, batch["labels"]
        turns = torch.arange(batch["size"], device=x.device)[self.rank_slice] % 4
        for k in range(1, 4):
            x[turns == k] = _turn(x[turns == k], k)
        return x, turns


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The feature network's training on pictures prepared in ``data``.

    Raises:
        UserError: nothing is prepared, or the pictures do not fill a batch.
    """
    section = params.feature_net
    pictures = Pictures("feature-net", params, section.training, data, rank, world_size)
    card, classes = pictures.card, pictures.card["classes"]
    network = FeatureNetwork(
        channels=card["shape"][0], width=section.width, features=section.features, classes=len(classes) or 4
    )
    description = FeatureNetDescription(model=network, classes=classes, data=Data.of(card))
    task = FeatureNetTask(description, section.training, params.seed, rank, world_size)
    return Experiment(task, pictures.micro_batch, pictures.validation(VALIDATION_BATCH, most=None))


def _turn(x: Tensor, k: int) -> Tensor:
    """``x`` after the ``k``-th of four motions that keep its shape; those of a square are quarter turns."""
    if x.shape[2] == x.shape[3]:
        return x.rot90(k, (2, 3))
    return x.flip([axis for axis, bit in ((2, 1), (3, 2)) if k & bit])


def _max_shift(x: Tensor) -> int:
    return max(1, x.shape[2] // 8)


def _shifted(x: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Each picture moved by its ``dy`` and ``dx`` ``(n,)``, up to an eighth of its side; its border pixels are repeated."""
    n, _, h, w = x.shape
    padded = F.pad(x, (_max_shift(x),) * 4, mode="replicate")
    rows = dy[:, None] + _max_shift(x) + torch.arange(h, device=x.device)
    columns = dx[:, None] + _max_shift(x) + torch.arange(w, device=x.device)
    picture = torch.arange(n, device=x.device)
    return padded.permute(0, 2, 3, 1)[picture[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
