"""What a comparison has (``reports/comparison.json``), and the rows that DVC plots."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from stepladder.text_tasks.record import Figures

Judged = dict[str, str | None]
"""What figures are of, see ``judgement.identity.judged``."""


class Point(TypedDict):
    """The figures of one (T, S), as its evaluation has them: all of ``metrics.pictures.POINTS`` that were measured.

    Each may have an interval, ``*_low`` and ``*_high``; a figure whose name is known only at run time is asked for by ``numbers.value_of``.
    """

    timesteps: int
    sampling_steps: int
    images: int
    frechet: float
    frechet_low: float
    frechet_high: float
    frechet_over_floor: NotRequired[float | None]  # None: no floor was measured
    accuracy: NotRequired[float]
    kid: NotRequired[float]
    kid_low: NotRequired[float]
    kid_high: NotRequired[float]
    precision: NotRequired[float]
    recall: NotRequired[float]
    recall_low: NotRequired[float]
    recall_high: NotRequired[float]
    memorised: NotRequired[float]
    nearest_ratio: NotRequired[float]
    network_evaluations: NotRequired[float]  # a picture
    milliseconds_per_image: NotRequired[float]  # from ``history.compared`` on
    failed: NotRequired[str]  # of the recommended one, where all failed: why


class Recommended(Point):
    """The point that is recommended, and why."""

    why: str


class ByTime(TypedDict):
    """Of each of ``times``, 0 to 1, the squared ``error`` of the prediction and where the learned variance is between its bounds."""

    times: list[float]
    error: list[float]
    fraction: list[float] | None


class Bound(TypedDict):
    """That on the negative log-likelihood of held-out pictures, in bits a dimension."""

    bits_per_dim: float
    bits_per_dim_low: float
    bits_per_dim_high: float
    images: int
    variance: str
    prior: float
    times: list[float]
    terms: list[float]  # of each of ``times``
    by_time: ByTime


class Likelihood(Bound):
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


class Protocol(TypedDict, total=False):
    """What figures of pictures depend on beside the model, see ``evaluation.pictures.judging``; empty where there are none."""

    samples: int
    held_out: int
    training: int
    features: str
    preprocessing: str
    neighbours: dict[str, int]
    memorised_percentile: float
    bootstrap: int
    confidence: float
    floor: dict[str, float]
    too_wide: str
    seed: int
    note: str


class Evaluated(TypedDict, total=False):
    """Of an evaluation of pictures, what a comparison takes; empty: there is none."""

    judged: Judged
    floor: dict[str, float]
    protocol: Protocol
    points: list[Point]
    likelihood: Bound


class Comparison(TypedDict):
    """All that ``comparison.compare`` brings together; of what was left out or is missing, nothing."""

    sweep: list[Point]
    missing: list[int]  # T that have not been evaluated
    absent: NotRequired[dict[str, str]]  # why there are no ``pictures``, no ``text``: the parameters leave them out
    floor: dict[str, float]  # the figures of real pictures
    protocol: NotRequired[Protocol]
    likelihood: NotRequired[list[Likelihood]]
    recommended: Recommended | None
    confidence: float
    training: list[Training]
    feature_net: dict[str, float]
    translation: Figures
    language_model: Figures
    translation_training: Training | None
    judged: dict[str, Judged | None]  # by model
    failed: dict[str, str]  # why the recommended point and the language model count as failed


class Loss(TypedDict):
    """A point of a curve of a training."""

    model: str
    step: int
    loss: float
    split: str


class AttentionMap(TypedDict):
    """What each of the tokens ``rows`` reads of the tokens ``columns``, by layer, head, row and column."""

    rows: list[str]
    columns: list[str]
    weights: list[list[list[list[float]]]]
    kind: NotRequired[str]


class Sentence(TypedDict):
    """A held-out sentence, as ``translations.jsonl`` has it."""

    source: str
    reference: str
    translation: str
    chrf: float


class Bar(TypedDict):
    """How many sentences have a chrF of one tenth of the scale."""

    chrf: str
    sentences: int
