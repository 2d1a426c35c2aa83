"""Training a classifier of noisy pictures."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from stepladder.data.card import PicturesCard
from stepladder.data.image_arrays import scaled
from stepladder.description import Data
from stepladder.diffusion.classifier import NoisyClassifier
from stepladder.diffusion.processes.process import q_sample
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.processes.settings import NoisyClassifierDescription, NoisyClassifierNetwork, sigma_data
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.pictures import VALIDATION_STREAM, Pictures, PictureTask
from stepladder.tasks.task import Batch


class ClassifierTask(PictureTask):
    """Cross entropy over classes at evenly distributed noise levels."""

    def __init__(
        self, description: NoisyClassifierDescription, training: Training, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(description, training, seed, rank, world_size)
        self.process = process_of(description)
        self.model = NoisyClassifier(**description.model.model_dump())

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits, labels, _ = self._logits(batch, batch["position"])
        loss = F.cross_entropy(logits, labels)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Over all levels, and ``validation/accuracy_low_noise`` over the lower half of times."""
        logits, labels, time = self._logits(batch, VALIDATION_STREAM + batch_idx)
        correct, low = (logits.argmax(1) == labels).float(), (time <= 0.5).float()
        self.log_validation(
            batch,
            loss=F.cross_entropy(logits, labels),
            accuracy=correct.mean(),
            accuracy_low_noise=(correct * low).sum() / low.sum().clamp(min=1),
        )

    def _logits(self, batch: Batch, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits ``(n, classes)`` of the noisy pictures, their classes ``(n,)`` and times ``(n,)`` in [0, 1]."""
        on_cpu, random = self.generators(position)
        u = torch.rand(batch["size"], generator=on_cpu, dtype=torch.float64)[self.rank_slice]
        levels = self.process.levels_of_every_t(u.numpy())
        tables = (levels.alphas, levels.sigmas, levels.times)
        alpha, sigma, time = (torch.from_numpy(table).float().to(self.device) for table in tables)
        x_0 = scaled(batch["images"])
        eps = self.sample_for_ranks(torch.randn, (batch["size"], *x_0.shape[1:]), random)
        x = q_sample(x_0, eps, alpha[:, None, None, None], sigma[:, None, None, None])
        return self.model(x, time).float(), batch["labels"], time


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training for the process and schedule of ``params.diffusion``, on pictures prepared in ``data``; it serves every T.

    Raises:
        UserError: the pictures have no classes, cannot be halved so often, or the batch does not divide.
    """
    training = params.noisy_classifier.training
    pictures = Pictures("noisy-classifier", params, training, data, rank, world_size)
    task = ClassifierTask(configuration(params, pictures.card), training, params.seed, rank, world_size)
    return Experiment(task, pictures.micro_batch, pictures.validation())


def configuration(params: Params, card: PicturesCard) -> NoisyClassifierDescription:
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
