"""The figures of drawn pictures: ``evaluation.pictures.judging`` makes them, docs/evaluation.md says how."""

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
"""Those of a point (T, S)."""
HEADLINES = tuple(name for name in POINTS if PICTURES[name].headline)
SUPPORT = tuple(name for name in POINTS if PICTURES[name].support)


class Point(TypedDict, total=False):
    """What is found of a model, drawn from in one way: beside these every figure of ``POINTS`` that it has, and its interval ``*_low``,
    ``*_high``; of what reads texts or enlarges also the figures of ``retrieval`` or ``super_resolution``.
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
    failed: str  # of the recommended one, where all failed: why
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
    error: list[float]  # of the network's own target
    error_of_x_0: list[float]  # of the data that it implies
    fraction: list[float] | None  # learned variance, between the posterior's (0) and beta (1); None: it is fixed
    images: NotRequired[int]


class Likelihood(TypedDict, total=False):
    """The bound on the negative log-likelihood of held-out pictures, and the loss by time; empty where none are asked for."""

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
    """All that a figure of pictures depends on beside the model, see ``evaluation.pictures.judging``; empty: nothing was judged."""

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
    """What an evaluation of a model that draws found: its ``metrics.json``."""

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
