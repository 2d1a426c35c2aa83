"""The types of a comparison (``reports/comparison.json``) and of the rows that DVC plots."""

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
    """The likelihood of held-out pictures under the model of one T."""

    timesteps: int


class Training(TypedDict):
    """Steps and loss of a training; ``timesteps`` of a diffusion model. ``history.compared`` adds time and run."""

    timesteps: NotRequired[int]
    steps: float | None
    parameters: float | None
    loss: float | None  # on held-out data where that was measured
    seconds: NotRequired[float | None]
    run_id: NotRequired[str | None]
    parent_run_id: NotRequired[str | None]
    experiment_id: NotRequired[str | None]
    git_commit: NotRequired[str | None]


class Comparison(TypedDict):
    """All that ``comparison.compare`` brings together. What was left out or is missing has no entries."""

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
    judged: dict[str, Mapping[str, str | None] | None]  # for each model, see ``judgement.identity.judged``
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
