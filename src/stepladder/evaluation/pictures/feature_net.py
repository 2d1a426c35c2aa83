"""The classifier whose features and verdicts judge pictures: a small convolutional network; ``feature_task`` trains it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from stepladder.errors import UserError


class Classifier(nn.Module):
    """Three levels of two convolutions, features, verdicts.

    Args:
        channels: of a picture; width: channels of the first level; features: their dimension; classes: verdicts.
    """

    def __init__(self, channels: int, width: int, features: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level, out in enumerate((width, 2 * width, 2 * width)):
            stride = 2 if level else 1
            for step in range(2):
                layers += [
                    nn.Conv2d(channels, out, 3, padding=1, stride=stride if step == 0 else 1),
                    nn.GroupNorm(4, out),
                    nn.SiLU(),
                ]
                channels = out
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2))
        self.features = nn.Sequential(nn.Linear(4 * channels, features), nn.SiLU())
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: ``(N, C, H, W)`` in [-1, 1]; gives features ``(N, features)`` and logits ``(N, classes)``."""
        found = self.features(self.body(x))
        return found, self.head(found)


def load(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The network, in evaluation mode, and the configuration in ``folder``; ``UserError`` if there is none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = Classifier(**config["model"])
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder} holds no feature network that can be loaded ({' '.join(str(error).split())[:120]}); "
            "make it with `dvc repro feature-net`."
        ) from None
    return model.eval(), config
