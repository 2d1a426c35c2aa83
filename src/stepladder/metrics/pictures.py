"""The figures of generated pictures: ``evaluation.pictures.judging`` makes them, docs/evaluation.md says how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from stepladder.metrics.metric import ACCURACY, Metric

PICTURES = {
    "frechet": Metric("Fréchet distance", -1, headline=True),
    "kid": Metric("KID", -1, signed=True, headline=True),
    "accuracy": ACCURACY,
    "precision": Metric("precision", 1, share=True, support=True, headline=True),
    "recall": Metric("recall", 1, share=True, support=True, headline=True),
    "density": Metric("density", 1, support=True),
    "coverage": Metric("coverage", 1, share=True, support=True),
    "memorised": Metric("share memorised", -1, share=True, band=False),
    "nearest_ratio": Metric("distance to training pictures, relative", 1, band=False),
    "bits_per_dim": Metric("bits a dimension", -1, of_model=True),
}
POINTS = tuple(name for name, metric in PICTURES.items() if not metric.of_model)
"""Names of the figures of a point (T, S)."""
HEADLINES = tuple(name for name in POINTS if PICTURES[name].headline)
SUPPORT = tuple(name for name in POINTS if PICTURES[name].support)


class Point(TypedDict, total=False):
    """The results of a model that is sampled in one way. Besides these keys: every figure of ``POINTS`` that it has, with its interval
    ``*_low``, ``*_high``; of a model that reads texts or enlarges also the figures of ``retrieval`` or ``super_resolution``.
    """  # fmt: skip

    timesteps: int
    sampling_steps: int
    sampler: str
    spacing: str
    variance: str
    guidance_scale: float
    classifier_scale: float
    frechet: float
    frechet_low: float
    frechet_high: float
    frechet_over_floor: float | None  # in a comparison; None: no floor was measured
    failed: str  # why the recommended point failed, where all did
    kid: float
    kid_low: float
    kid_high: float
    accuracy: float
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    density: float
    coverage: float
    memorised: float
    nearest_ratio: float
    images: int
    milliseconds_per_image: float
    network_evaluations: float  # a picture


class ByTime(TypedDict):
    """Mean squared errors by time, cleanest first."""

    times: list[float]
    error: list[float]  # of the network's target
    error_of_x_0: list[float]  # of the x_0 that follows from it
    fraction: list[float] | None  # learned variance, between the posterior's (0) and beta (1); None: it is fixed
    images: NotRequired[int]


class Likelihood(TypedDict, total=False):
    """The bound on the negative log-likelihood of held-out pictures, and the loss by time; empty where it is not evaluated."""

    bits_per_dim: float  # its interval is over pictures
    bits_per_dim_low: float
    bits_per_dim_high: float
    images: int
    steps: int
    variance: str  # of the reverse steps
    prior: float
    terms: list[float]  # of the bound, by times, cleanest first
    times: list[float]
    by_time: ByTime


class Protocol(TypedDict, total=False):
    """Everything except the model that a figure of pictures depends on, see ``evaluation.pictures.judging``; empty: none."""

    samples: int
    held_out: int  # pictures, as training
    training: int
    features: str
    preprocessing: str
    neighbours: dict[str, int]
    memorised_below: float  # distance to the nearest training picture
    memorised_percentile: float
    bootstrap: int
    confidence: float
    floor: dict[str, float]
    too_wide: str
    seed: int
    note: str  # on the data


class PictureMetrics(TypedDict, total=False):
    """The results of an evaluation of a model that generates pictures: its ``metrics.json``."""

    timesteps: int
    family: str  # of a baseline, which has a point; a diffusion model has several
    judged: Mapping[str, str | None]  # see ``judgement.identity``
    floor: Mapping[str, float]  # the figures of real pictures
    held_out: Mapping[str, float | None]
    features: str
    protocol: Protocol
    best: Point
    points: list[Point]
    point: Point
    likelihood: Likelihood
