"""What a model's description says of its process, and the description of a noisy classifier, whose noise parameters are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stepladder.description import Count, Depth, Description, Name, Record, Shape

if TYPE_CHECKING:
    from stepladder.data.card import PicturesCard

BESIDE = "noisy-classifier"  # the folder, in a registered model's own, of the classifier that guides it
LEAST_SIGMA_DATA = 0.01  # of pictures of one colour: the preconditioning divides by it
SIGMA_DATA = 0.5  # ImageNet's: that of models and data from before it was measured


class ProcessDescription(Record):
    """What a process is made of; the keys are those of the parameters ``diffusion``.

    Attributes:
        timesteps: T; a noisy classifier, which serves every T, has none.
        sigma_data: standard deviation of the data.
    """

    process: str = "discrete"
    schedule: str
    log_snr: tuple[float, ...] = ()
    betas: tuple[float, ...] = ()
    zero_terminal_snr: bool = False
    prediction: Literal["eps", "x0", "v"] = "eps"
    sigma_data: float = SIGMA_DATA
    timesteps: Count = 1


class NoisyClassifierNetwork(Record):
    """Arguments of ``diffusion.classifier.NoisyClassifier``."""

    shape: Shape
    channels: Count
    channel_mult: tuple[Count, ...] = Field(min_length=1, max_length=32)
    blocks: Depth
    attention_resolutions: tuple[int, ...]
    heads: Count
    dropout: float
    classes: Count
    process: str = "discrete"
    sigma_data: float = SIGMA_DATA


class NoisyClassifierDescription(Description, ProcessDescription):
    """A noisy classifier, and the process whose noise it has learned; one serves every T."""

    kind: ClassVar[str] = "noisy-classifier"
    family: Literal["noisy-classifier"] = "noisy-classifier"
    model: NoisyClassifierNetwork
    classes: tuple[Name, ...]


def sigma_data(card: PicturesCard) -> float:
    """Standard deviation of the data of ``card``, as a model of it is configured; cards from before it was kept: 0.5."""
    return max(float(card.get("sigma_data", SIGMA_DATA)), LEAST_SIGMA_DATA)
