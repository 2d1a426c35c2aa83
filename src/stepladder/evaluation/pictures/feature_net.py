"""The classifier whose features and verdicts judge pictures: a small convolutional network; ``feature_task`` trains it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from stepladder import loading
from stepladder.description import Count, Description, Name, Record


class Classifier(nn.Module):
    """Three levels of two convolutions, then a layer of features and one of verdicts.

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
        features = self.features(self.body(x))
        return features, self.head(features)


class FeatureNetwork(Record):
    """Arguments of ``Classifier``."""

    channels: Count
    width: Count
    features: Count
    classes: Count


class FeatureNetDescription(Description):
    """A feature network; without ``classes`` it learned to predict how pictures were turned."""

    kind: ClassVar[str] = "feature-net"
    family: Literal["feature-net"] = "feature-net"
    model: FeatureNetwork
    classes: tuple[Name, ...]


def load(folder: Path) -> tuple[Classifier, FeatureNetDescription]:
    """The network, in evaluation mode, and its description, from ``folder``; ``UserError`` if there is none."""
    remedy = "make it with `dvc repro feature-net`"
    return loading.load(folder, lambda d: Classifier(**d.model.model_dump()), FeatureNetDescription, remedy=remedy)
