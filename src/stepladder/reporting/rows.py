"""What a comparison has (``reports/comparison.json``), and the rows that DVC plots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from stepladder.metrics import pictures
from stepladder.metrics.pictures import Point, Protocol
from stepladder.text_tasks.record import Figures


class Recommended(Point):
    """The point that is recommended, and why."""

    why: str


class Likelihood(pictures.Likelihood):
    """Of the model of one T."""

    timesteps: int


class Training(TypedDict):
    """What a training took and reached; ``timesteps``: of a diffusion model. From ``history.compared`` on, its time and its run too."""

    timesteps: NotRequired[int]
    steps: float | None
    parameters: float | None
    loss: float | None  # held-out where that was measured
    seconds: NotRequired[float | None]
    run_id: NotRequired[str | None]
    parent_run_id: NotRequired[str | None]
    experiment_id: NotRequired[str | None]
    git_commit: NotRequired[str | None]


class Comparison(TypedDict):
    """All that ``comparison.compare`` brings together; of what was left out or is missing, nothing."""

    sweep: list[Point]
    missing: list[int]  # T that have not been evaluated
    absent: NotRequired[dict[str, str]]  # why there are no ``pictures``, no ``text``: the parameters leave them out
    floor: Mapping[str, float]  # the figures of real pictures
    protocol: NotRequired[Protocol]
    likelihood: NotRequired[list[Likelihood]]
    recommended: Recommended | None
    confidence: float
    training: list[Training]
    feature_net: dict[str, float]
    translation: Figures
    language_model: Figures
    translation_training: Training | None
    judged: dict[str, Mapping[str, str | None] | None]  # by model, see ``judgement.identity.judged``
    failed: dict[str, str]  # why the recommended point and the language model count as failed


class Loss(TypedDict):
    """A point of a curve of a training."""

    model: str
    step: int
    loss: float
    split: str


class Bar(TypedDict):
    """How many sentences have a chrF of one tenth of the scale."""

    chrf: str
    sentences: int
