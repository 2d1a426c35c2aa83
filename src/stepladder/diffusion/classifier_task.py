"""Training a classifier of noisy pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.data.image_arrays import ImageArrays
from stepladder.data.shuffle import Shuffle
from stepladder.description import Data
from stepladder.diffusion.classifier import NoisyClassifier
from stepladder.diffusion.processes.process import q_sample
from stepladder.diffusion.processes.processes import of
from stepladder.diffusion.processes.settings import NoisyClassifierDescription, NoisyClassifierNetwork, sigma_data
from stepladder.params import NoisyClassifier as Section
from stepladder.params import Params
from stepladder.params.fitting import trainable
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.optim import configure
from stepladder.tasks.randomness import generator
from stepladder.tasks.task import Batch, Task

VALIDATION_STREAM = 2**40  # numbers of micro-batches stay below
MOST_VALIDATED = 2048


class ClassifierTask(Task):
    """Cross entropy over classes at evenly drawn noise levels.

    Levels and noise are drawn for the whole micro-batch from (seed, position), and a rank takes its own.
    """

    def __init__(
        self, description: NoisyClassifierDescription, section: Section, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.description, self.section, self.seed, self.process = description, section, seed, of(description)
        self.mine = slice(rank, None, world_size)
        self.model = NoisyClassifier(**description.model.model_dump())

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
        levels = self.process.levels_of_every_t(u.numpy())
        tables = (levels.alphas, levels.sigmas, levels.times)
        alpha, sigma, time = (torch.from_numpy(table).float().to(self.device) for table in tables)
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
    trainable("noisy-classifier", params, card, world_size)
    size = training.batch_size // training.accumulate
    description = configuration(params, card)
    shuffle = Shuffle(len(train.labels), size, params.seed)

    def micro_batch(k: int) -> Batch:
        return _batch(train, shuffle.rows(k)[rank::world_size], size) | {"position": k}

    order = shuffle.all(len(test.labels))[:MOST_VALIDATED]
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    validation = [_batch(test, chunk[rank::world_size], len(chunk)) for chunk in chunks]
    task = ClassifierTask(description, section, params.seed, rank, world_size)
    return Experiment(task, micro_batch, [batch for batch in validation if len(batch["labels"])])


def configuration(params: Params, card: dict[str, Any]) -> NoisyClassifierDescription:
    """The description of a classifier of the noise of ``params.diffusion``, for the pictures of ``card``."""
    network = params.noisy_classifier.model_dump(mode="json", exclude={"training", "train"})
    return NoisyClassifierDescription(
        process=params.diffusion.process,
        schedule=params.diffusion.schedule,
        log_snr=params.diffusion.log_snr,
        betas=params.diffusion.betas,
        zero_terminal_snr=params.diffusion.zero_terminal_snr,
        model=NoisyClassifierNetwork(
            shape=card["shape"],
            classes=len(card["classes"]),
            process=params.diffusion.process,
            sigma_data=sigma_data(card),
            **network,
        ),
        classes=card["classes"],
        data=Data.of(card),
    )


def _batch(arrays: ImageArrays, rows: Any, size: int) -> Batch:
    return {
        "images": torch.from_numpy(arrays.images[rows]),
        "labels": torch.from_numpy(arrays.labels[rows]),
        "size": size,
    }
