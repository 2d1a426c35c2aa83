"""A classifier of noisy pictures, whose gradient guides sampling: Dhariwal and Nichol (2021), section 4.

The way down of the UNet, then the mean over what is left of the picture. It is trained at continuous noise levels and told them
as the diffusion model is, so that one classifier serves every number of timesteps T.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stepladder.diffusion.blocks import ResidualBlock, SpatialAttention, embedding, norm, sinusoidal
from stepladder.diffusion.parameterisation import network_input
from stepladder.diffusion.process import EDM_SIGMAS, level_at
from stepladder.diffusion.schedules import of_config
from stepladder.diffusion.settings import settings
from stepladder.errors import UserError

Array = npt.NDArray[np.float64]
PROCESS = (
    "process",
    "schedule",
    "log_snr",
    "betas",
    "zero_terminal_snr",
)  # what it shares with the model that it guides


class NoisyClassifier(nn.Module):
    """Says of what class a noisy picture is.

    Args:
        shape: (C, H, W) of a picture. channels: of the first level. channel_mult: channels of each level in multiples of the first;
            each level halves the side. blocks: residual blocks a level. attention_resolutions: heights at which there is
            attention. heads: its heads. dropout: in residual blocks. classes: verdicts.
        process: of the noise; pictures of ``edm`` are brought to unit variance first.

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
    ) -> None:
        super().__init__()
        picture_channels, height, width = shape
        halvings = len(channel_mult) - 1
        if height % 2**halvings or width % 2**halvings:
            raise UserError(
                f"Pictures of {height}x{width} cannot be halved {halvings} times; shorten noisy_classifier.channel_mult="
                f"{list(channel_mult)}."
            )
        self.width, self.process = channels, process
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
        if self.process == "edm":
            least, most = np.log(EDM_SIGMAS).tolist()
            x = network_input("edm", x, torch.exp(least + (most - least) * time)[:, None, None, None])
        told = F.silu(self.time(sinusoidal(time, self.width).to(x.dtype)))
        modulation = iter(self.modulation(told).split(self.widths, dim=1))
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        for layer in self.down:
            x = layer(x, next(modulation)) if isinstance(layer, ResidualBlock) else layer(x)
        return self.head(F.silu(self.head_norm(x)).mean((2, 3)))


def noise_levels(config: dict[str, Any], u: Array) -> tuple[Array, Array, Array]:
    """alpha, sigma and the time that is told, ``(N,)`` each, at ``u`` ``(N,)`` in [0, 1), evenly drawn.

    Of the discrete process the level of T steps at time (t + 1) / T, for every T at once, where its schedule is a curve; where
    it is a table of betas, one of its steps.
    """
    known = settings(config)
    if known["schedule"] == "betas":
        timesteps = len(known["betas"])
        signal = of_config(known | {"timesteps": timesteps}).alphas_cumprod
        t = np.minimum((u * timesteps).astype(np.int64), timesteps - 1)
        return np.sqrt(signal[t]), np.sqrt(1 - signal[t]), (t + 1) / timesteps
    alpha, sigma = level_at(known)(u)
    if known["zero_terminal_snr"]:  # as ``schedules.zero_terminal`` does it to T steps, for T without end
        first, last = (float(level_at(known)(np.array([end]))[0][0]) for end in (0.0, 1.0))
        alpha = (alpha - last) * first / (first - last)
        sigma = np.sqrt(1 - alpha**2)
    return alpha, sigma, u


def load(folder: Path, config: dict[str, Any] | None = None) -> tuple[NoisyClassifier, dict[str, Any]]:
    """The network, in evaluation mode, and the configuration in ``folder``.

    Args:
        config: of the diffusion model that it is to guide.

    Raises:
        UserError: the folder holds no noisy classifier, or one for pictures, classes or noise of another kind.
    """
    try:
        own = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = NoisyClassifier(**own["model"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} holds no noisy classifier that can be loaded ({' '.join(str(error).split())[:120]}); make one with "
            "`stepladder train noisy-classifier`."
        ) from None
    if config is not None:
        _fits(folder, own, config)
    return model.eval(), own


def _fits(folder: Path, own: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise ``UserError`` where the classifier of ``own`` configuration does not know what the model of ``config`` draws."""
    pairs = {"classes": (own["classes"], config["classes"] or own["classes"])}  # a model without classes can be guided
    pairs["shape"] = (own["model"]["shape"], config["model"]["shape"])
    pairs |= {key: (own[key], settings(config)[key]) for key in PROCESS}
    for key, (mine, theirs) in pairs.items():
        if mine != theirs:
            raise UserError(
                f"The noisy classifier in {folder} was trained with {key} {mine} and the model has {theirs}; train one with the "
                "model's parameters: `stepladder train noisy-classifier`."
            )
