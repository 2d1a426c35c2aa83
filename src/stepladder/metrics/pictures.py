"""The figures of drawn pictures: ``evaluation.pictures.judging`` makes them, docs/evaluation.md says how."""

from __future__ import annotations

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
