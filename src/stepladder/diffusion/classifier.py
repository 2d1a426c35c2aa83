"""A classifier of noisy pictures, whose gradient guides sampling: Dhariwal and Nichol (2021), section 4.

The way down of the UNet, then the mean over the remaining positions. It is trained at continuous noise levels, which it
gets as the diffusion model does, so that one classifier serves every number of timesteps T.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder import loading
from stepladder.diffusion.networks.blocks import ResidualBlock, SpatialAttention, embedding, norm, sinusoidal
from stepladder.diffusion.networks.description import DiffusionDescription, guided
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.processes.settings import BUNDLED_CLASSIFIER, NoisyClassifierDescription, ProcessDescription
from stepladder.errors import UserError
from stepladder.params import fitting


class NoisyClassifier(nn.Module):
    """Predicts the class of a noisy picture.

    Args:
        shape: (C, H, W) of a picture. channels: of the first level. channel_mult: channels of each level in multiples of the first;
            each level halves the side. blocks: residual blocks a level. attention_resolutions: heights at which there is
            attention. heads: its heads. dropout: in residual blocks. classes: their number.
        process: of the noise; ``edm`` scales pictures to unit variance first. sigma_data: their standard deviation.

    Raises:
        UserError: the sides cannot be halved as often as there are levels, less one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        channel_mult: Sequence[int],
        blocks: int,
        attention_resolutions: Sequence[int],
        heads: int,
        dropout: float,
        classes: int,
        process: str = "discrete",
        sigma_data: float = 0.5,
    ) -> None:
        super().__init__()
        picture_channels, height, width = shape
        halvings = len(channel_mult) - 1
        if height % 2**halvings or width % 2**halvings:
            raise UserError(
                f"Pictures of {height}x{width} cannot be halved {halvings} times; shorten noisy_classifier.channel_mult="
                f"{list(channel_mult)}."
            )
        # scaling does not depend on the schedule
        scaling = ProcessDescription(process=process, schedule="cosine", sigma_data=sigma_data)
        self.width, self.process = channels, process_of(scaling)
        self.time = embedding(channels, 4 * channels)
        self.stem = nn.Conv2d(picture_channels, channels, 3, padding=1)
        self.down, now = nn.ModuleList(), channels
        for level, mult in enumerate(channel_mult):
            for _ in range(blocks):
                self.down.append(ResidualBlock(now, mult * channels, dropout))
                now = mult * channels
                if height >> level in attention_resolutions:
                    self.down.append(SpatialAttention(now, heads))
            if level < halvings:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
        self.widths = [layer.modulation for layer in self.down if isinstance(layer, ResidualBlock)]
        self.modulation = nn.Linear(4 * channels, sum(self.widths))
        self.head_norm, self.head = norm(now, 8), nn.Linear(now, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: ``(N, C, H, W)``; time: ``(N,)`` in [0, 1]; gives logits ``(N, classes)``."""
        x = self.process.scale_input_at(x, time)
        embedded = F.silu(self.time(sinusoidal(time, self.width).to(x.dtype)))
        modulation = iter(self.modulation(embedded).split(self.widths, dim=1))
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for layer in self.down:
            x = layer(x, next(modulation)) if isinstance(layer, ResidualBlock) else layer(x)
        logits: Tensor = self.head(F.silu(self.head_norm(x)).mean((2, 3)))
        return logits


def load(
    folder: Path, description: DiffusionDescription | None = None
) -> tuple[NoisyClassifier, NoisyClassifierDescription]:
    """The network, in evaluation mode, and its description, from ``folder``.

    Args:
        description: of the diffusion model that it is to guide.

    Raises:
        UserError: the folder holds no noisy classifier, or one for pictures, classes or noise of another kind.
    """
    model, classifier_description = loading.load(folder, _network, NoisyClassifierDescription)
    if description is not None:
        fitting.read_guide(folder, guided(description))
    return model, classifier_description


def load_bundled(
    folder: Path, description: DiffusionDescription
) -> tuple[NoisyClassifier | None, DiffusionDescription]:
    """The classifier in the model's ``folder``, None without one, and ``description`` with the classes that can be
    requested: those of the classifier, where there is one; ``UserError`` as ``load``.
    """
    if not (folder / BUNDLED_CLASSIFIER).is_dir():
        return None, description
    guide, classifier_description = load(folder / BUNDLED_CLASSIFIER, description)
    return guide, description.model_copy(update={"classes": classifier_description.classes})


def _network(description: NoisyClassifierDescription) -> NoisyClassifier:
    process_of(description)  # raises where there is no such process
    return NoisyClassifier(**description.model.model_dump())
