"""Trains the classifier that judges pictures: a stage of its own.

Where the data has no classes it learns to tell by how many quarter turns a picture was turned (Gidaris et al. 2018; of
pictures that are not square, whether it was mirrored, turned upside down, or both): its features still describe
pictures, and there are no verdicts.
"""

from __future__ import annotations

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

VALIDATED = 512  # pictures at once


class FeatureNetTask(PictureTask):
    """Cross entropy over classes, of pictures shifted by up to an eighth of their side."""

    description: FeatureNetDescription

    def __init__(self, description: FeatureNetDescription, training: Training, seed: int) -> None:
        super().__init__(description, training, seed)
        self.model = Classifier(**description.model.model_dump())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        _, random = self.generators(batch["position"])
        x, labels = self._turned(scaled(batch["images"]), batch["labels"])
        _, logits = self.model(_shifted(x, random))
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        x, labels = self._turned(scaled(batch["images"]), batch["labels"])
        _, logits = self.model(x)
        right = (logits.argmax(1) == labels).float().mean()
        self.log_validation(batch, accuracy=right, loss=F.cross_entropy(logits, labels))

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
    """The feature network's training on pictures prepared in ``data``; ``timesteps`` is not used.

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
    task = FeatureNetTask(description, section.training, params.seed)
    return Experiment(task, pictures.micro_batch, pictures.validation(VALIDATED, most=None))


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
