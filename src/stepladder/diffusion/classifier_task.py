"""Training a classifier of noisy pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.data.images import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.diffusion.classifier import PROCESS, NoisyClassifier, noise_levels
from stepladder.diffusion.process import q_sample
from stepladder.errors import UserError
from stepladder.params import NoisyClassifier as Section
from stepladder.params import Params
from stepladder.training.experiment import Batch, Experiment
from stepladder.training.optim import configure
from stepladder.training.randomness import generator

VALIDATION_STREAM = 2**40  # numbers of micro-batches stay below
MOST_VALIDATED = 2048


class ClassifierTask(pl.LightningModule):
    """Cross entropy over classes at evenly drawn noise levels.

    Levels and noise are drawn for the whole micro-batch from (seed, position), and a rank takes its own.
    """

    def __init__(self, config: dict[str, Any], section: Section, seed: int, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        self.config, self.section, self.seed = config, section, seed
        self.mine = slice(rank, None, world_size)
        self.model = NoisyClassifier(**config["model"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits, labels, _ = self._seen(batch, batch["position"])
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Over all levels, and ``validation/accuracy_low_noise`` over the lower half of times."""
        logits, labels, time = self._seen(batch, VALIDATION_STREAM + batch_idx)
        size: Any = float(len(labels))  # an int would be averaged over the ranks as one, and rounded down
        right, low = (logits.argmax(1) == labels).float(), (time <= 0.5).float()
        self.log("validation/loss", F.cross_entropy(logits, labels), batch_size=size, sync_dist=True)
        self.log("validation/accuracy", right.mean(), batch_size=size, sync_dist=True)
        low_noise = (right * low).sum() / low.sum().clamp(min=1)
        self.log("validation/accuracy_low_noise", low_noise, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.section.training)

    def _seen(self, batch: Batch, position: int) -> tuple[Tensor, Tensor, Tensor]:
        random = generator(self.seed, position)
        u = torch.rand(batch["size"], generator=random, dtype=torch.float64)[self.mine]
        levels = noise_levels(self.config, u.numpy())
        alpha, sigma, time = (torch.from_numpy(level).float().to(self.device) for level in levels)
        x_0 = batch["images"].float() / 127.5 - 1
        if self.device.type != "cpu":
            random = generator(self.seed, position, device=self.device)
        eps = torch.randn((batch["size"], *x_0.shape[1:]), generator=random, device=self.device)[self.mine]
        x = q_sample(x_0, eps, alpha[:, None, None, None], sigma[:, None, None, None])
        return self.model(x, time).float(), batch["labels"], time


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training for the process and schedule of ``params.diffusion``, on pictures prepared in ``data``; it serves every T.

    Raises:
        UserError: the pictures have no classes, cannot be halved so often, or the batch does not divide.
    """
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    section, training, card = params.noisy_classifier, params.noisy_classifier.training, train.card
    if not card["classes"]:
        raise UserError(f"The pictures of {card['name']} have no classes for a noisy classifier to tell apart.")
    size = training.batch_size // training.accumulate
    if size * training.accumulate != training.batch_size or size % world_size:
        raise UserError(
            f"noisy_classifier.training.batch_size={training.batch_size} cannot be divided into accumulate="
            f"{training.accumulate} micro-batches for {world_size} devices; make it a multiple."
        )
    noise = {key: getattr(params.diffusion, key) for key in PROCESS}
    network = section.model_dump(mode="json", exclude={"training"})
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in noise.items()} | {
        "family": "noisy-classifier",
        "model": {"shape": card["shape"], "classes": len(card["classes"]), "process": params.diffusion.process}
        | network,
        "classes": card["classes"],
        "data": {key: card[key] for key in ("name", "source", "content_hash")},
    }
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def micro_batch(k: int) -> Batch:
        return _batch(train, shuffle.rows(k)[rank::world_size], size) | {"position": k}

    order = shuffle.all(len(test.labels))[:MOST_VALIDATED]
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    validation = [_batch(test, chunk[rank::world_size], len(chunk)) for chunk in chunks]
    task = ClassifierTask(config, section, params.seed, rank, world_size)
    return Experiment(task, micro_batch, [batch for batch in validation if len(batch["labels"])])


def _batch(arrays: ImageArrays, rows: Any, size: int) -> Batch:
    return {
        "images": torch.from_numpy(arrays.images[rows]),
        "labels": torch.from_numpy(arrays.labels[rows]),
        "size": size,
    }
