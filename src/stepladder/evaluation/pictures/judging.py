"""Judges generated pictures: every figure with its interval, and the same figures of real pictures.

Protocol. Pictures are generated for the classes of the held-out pictures, in the same shares, and rounded to uint8 as the real ones are.
Frechet distance, KID, precision, recall, density and coverage are measured in features, from the generated to all held-out pictures.
The floor is the same figure of equally many real training pictures of the same classes (all of a class that has fewer): what a
perfect model would get.
Accuracy is the share of pictures that the feature network assigns to the class of their condition. Memorisation is measured in
pixels, against the training pictures. Intervals show how far a figure varies over samples of as many generated pictures of
each class; the real pictures stay the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stepladder.data.grid import scaled, to_uint8
from stepladder.data.image_arrays import ImageArrays
from stepladder.evaluation.pictures import density_coverage, held_out, memorisation, precision_recall
from stepladder.evaluation.pictures.features import judge
from stepladder.evaluation.pictures.frechet import frechet_to, normal, too_wide
from stepladder.evaluation.pictures.intervals import bootstrap_interval, halves, proportion, resampled
from stepladder.evaluation.pictures.kernel_distance import from_kernels, from_resampled_kernels, kernel, within
from stepladder.evaluation.pictures.neighbours import distances, radii
from stepladder.metrics.pictures import PICTURES, Protocol
from stepladder.params import Params

__all__ = ["Judge", "scaled"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
PREPROCESSING = "drawn pictures rounded to uint8, as the real ones are, then scaled to [-1, 1]"


class Judge:
    """Judges pictures against those of prepared data; made once, for any number of models.

    Attributes:
        params: the spec; of it ``seed`` and ``evaluation`` are used.
        train, test: the real pictures.
        floor: the figures of real training pictures, ``images`` the number of them.
        held_out: ``images``, and their ``accuracy`` (``None`` without classes).
        protocol: everything except the model that a figure depends on.
    """

    def __init__(self, params: Params, data: Path, feature_net: Path) -> None:
        """``data``: folder of prepared pictures; ``feature_net``: of the feature network. Raises ``UserError`` as they do."""
        self.params, settings = params, params.evaluation
        self.train, self.test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
        self._extract = judge(feature_net, settings.inception_weights)
        self._real, verdicts = self._extract(scaled(self.test.images))
        self._normal = normal(self._real)
        self._kernels = within(kernel(self._real, self._real), self.test.labels).mean(keepdims=True)
        self._radii = {k: radii(self._real, k) for k in (precision_recall.K, density_coverage.K)}
        self._nearest = memorisation.nearest(self.test.images, self.train.images)

        labels = self.test.labels[held_out.rows(self.test, settings.samples)]
        numbers = held_out.alike(self.train.labels, labels, params.seed)
        features, _ = self._extract(scaled(self.train.images[numbers]))
        self.floor = self._metrics(features, self.train.labels[numbers]) | {"images": len(numbers)}
        self.held_out: dict[str, float | None] = {
            "images": len(self._real),
            "accuracy": float((verdicts == self.test.labels).mean()) if self.test.card["classes"] else None,
        }
        self.protocol: Protocol = {
            "samples": settings.samples,
            "held_out": len(self._real),
            "training": len(self.train.labels),
            "features": settings.inception_weights or "this data's feature network",
            "preprocessing": PREPROCESSING,
            "neighbours": {"precision_recall": precision_recall.K, "density_coverage": density_coverage.K},
            "memorised_below": memorisation.threshold(self._nearest),
            "memorised_percentile": memorisation.PERCENTILE,
            "bootstrap": settings.bootstrap,
            "confidence": settings.confidence,
            "floor": self.floor,
            "too_wide": too_wide(settings.samples, self._real.shape[1]),
            "seed": params.seed,
            "note": self.test.card.get("note", ""),
        }

    def point(self, pictures: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """All figures of generated ``pictures`` ``(N, C, H, W)`` in [-1, 1], each with its interval ``*_low``, ``*_high``.

        ``frechet``, ``kid``, ``precision``, ``recall``, ``density``, ``coverage``; ``memorised``, the share of pictures nearer to
        a training picture than 99% of the held-out ones are, and ``nearest_ratio``, the median distance to the nearest training
        picture over that of the held-out ones; ``accuracy``, where there are classes. Finite pictures only.

        Args:
            labels: the classes that the pictures were generated for, ``(N,)``; ``None``: without classes.
        """
        generated = to_uint8(pictures)
        features, verdicts = self._extract(scaled(generated))
        wanted = np.zeros(len(generated), dtype=np.int64) if labels is None else labels.cpu().numpy()
        point = self._metrics(features, wanted, intervals=True) | self._memorisation(generated, wanted)
        if labels is not None and self.test.card["classes"]:
            point |= self._share("accuracy", verdicts == wanted)
        return point | {"images": len(generated)}

    def _metrics(self, features: Array, labels: Labels, *, intervals: bool = False) -> dict[str, float]:
        kernels, kernels_to_real = within(kernel(features, features), labels), kernel(features, self._real)
        to_real = distances(features, self._real)
        realistic = precision_recall.realistic(to_real, self._radii[precision_recall.K])
        inside = density_coverage.hits(to_real, self._radii[density_coverage.K])
        densities = density_coverage.densities(inside)
        values = {
            "frechet": frechet_to(features, self._normal),
            "kid": from_kernels(kernels, self._kernels, kernels_to_real),
            "precision": float(realistic.mean()),
            "recall": precision_recall.recall(to_real, radii(features, precision_recall.K)),
            "density": float(densities.mean()),
            "coverage": density_coverage.coverage(inside),
        }
        if not intervals:
            return values
        rows = self._resampled(labels)
        present = np.zeros((len(rows), len(features)), dtype=bool)
        np.put_along_axis(present, rows, True, axis=1)
        subsets = halves(labels, self.params.evaluation.bootstrap, self.params.seed)
        estimates = {
            "frechet": np.array([frechet_to(features[r], self._normal) for r in rows]),
            "kid": np.array([from_resampled_kernels(kernels, self._kernels, kernels_to_real, r) for r in rows]),
            "precision": realistic[rows].mean(1),
            "recall": precision_recall.recalls(to_real, distances(features, features), subsets),
            "density": densities[rows].mean(1),
            "coverage": density_coverage.coverages(inside, present),
        }
        with_intervals: dict[str, float] = {}
        for name, value in values.items():
            with_intervals |= self._with_interval(name, value, estimates[name])
        return with_intervals

    def _memorisation(self, generated: npt.NDArray[np.uint8], labels: Labels) -> dict[str, float]:
        to_training = memorisation.nearest(generated, self.train.images)
        metrics = self._share("memorised", to_training < memorisation.threshold(self._nearest))
        ratio = memorisation.ratio(to_training, self._nearest)
        if ratio is not None:
            estimates = np.median(to_training[self._resampled(labels)], axis=1) / np.median(self._nearest)
            metrics |= self._with_interval("nearest_ratio", ratio, estimates)
        return metrics

    def _resampled(self, labels: Labels) -> Labels:
        return resampled(labels, self.params.evaluation.bootstrap, self.params.seed)

    def _with_interval(self, name: str, value: float, estimates: Array) -> dict[str, float]:
        low, high = bootstrap_interval(value, estimates, self.params.evaluation.confidence)
        if PICTURES[name].share:
            low, high = max(low, 0.0), min(high, 1.0)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def _share(self, name: str, hits: npt.NDArray[np.bool_]) -> dict[str, float]:
        low, high = proportion(int(hits.sum()), len(hits), self.params.evaluation.confidence)
        return {name: float(hits.mean()), f"{name}_low": low, f"{name}_high": high}
