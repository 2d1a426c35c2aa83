"""What a model's description says of its process, and the description of a noisy classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from stepladder.description import Count, Depth, Description, Name, Record, Shape

if TYPE_CHECKING:
    from stepladder.data.card import PicturesCard

BUNDLED_CLASSIFIER = "noisy-classifier"  # subfolder of a registered model's folder: the classifier that guides it
LEAST_SIGMA_DATA = 0.01  # for pictures of one colour, since the preconditioning divides by it
SIGMA_DATA = 0.5  # ImageNet's; used for models and data from before it was measured


class ProcessDescription(Record):
    """The settings of a process; the keys are those of the parameters ``diffusion``.

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
    """Standard deviation of the data of ``card``, for a model's description; 0.5 where an older card has none."""
    return max(float(card.get("sigma_data", SIGMA_DATA)), LEAST_SIGMA_DATA)
