"""The judge of drawn pictures: every figure, its interval, and what real pictures get.

Protocol. Pictures are drawn of the classes of the held-out pictures, in the same shares, and rounded to uint8 as the real ones are.
Frechet distance, KID, precision, recall, density and coverage are measured in features, from the drawn to all held-out pictures. The
floor is the same figure of as many real training pictures of the same classes (all of a class that has fewer): what a perfect
model would get.
Accuracy is the share of pictures that the feature network takes for the class that was asked for. Memorisation is measured in
pixels, against the training pictures. Intervals say how far a figure varies over samples of as many drawn pictures of each
class; the real pictures stay the same.
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
        protocol: all that a figure depends on beside the model.
    """

    def __init__(self, params: Params, data: Path, feature_net: Path) -> None:
        """``data``: folder of prepared pictures; ``feature_net``: of the feature network. Raises ``UserError`` as they do."""
        self.params, settings = params, params.evaluation
        self.train, self.test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
        self._see = judge(feature_net, settings.inception_weights)
        self._real, verdicts = self._see(scaled(self.test.images))
        self._normal = normal(self._real)
        self._kernels = within(kernel(self._real, self._real), self.test.labels).mean(keepdims=True)
        self._radii = {k: radii(self._real, k) for k in (precision_recall.K, density_coverage.K)}
        self._nearest = memorisation.nearest(self.test.images, self.train.images)

        asked = self.test.labels[held_out.rows(self.test, settings.samples)]
        numbers = held_out.alike(self.train.labels, asked, params.seed)
        features, _ = self._see(scaled(self.train.images[numbers]))
        self.floor = self._figures(features, self.train.labels[numbers]) | {"images": len(numbers)}
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
        """All figures of drawn ``pictures`` ``(N, C, H, W)`` in [-1, 1], each with its interval ``*_low``, ``*_high``.

        ``frechet``, ``kid``, ``precision``, ``recall``, ``density``, ``coverage``; ``memorised``, the share of pictures nearer to
        a training picture than 99% of the held-out ones are, and ``nearest_ratio``, the median distance to the nearest training
        picture over that of the held-out ones; ``accuracy``, where there are classes. Finite pictures only.

        Args:
            labels: the classes asked for, ``(N,)``; ``None`` where none were.
        """
        drawn = to_uint8(pictures)
        features, seen = self._see(scaled(drawn))
        wanted = np.zeros(len(drawn), dtype=np.int64) if labels is None else labels.cpu().numpy()
        point = self._figures(features, wanted, intervals=True) | self._memorisation(drawn, wanted)
        if labels is not None and self.test.card["classes"]:
            point |= self._share("accuracy", seen == wanted)
        return point | {"images": len(drawn)}

    def _figures(self, features: Array, labels: Labels, *, intervals: bool = False) -> dict[str, float]:
        own, between = within(kernel(features, features), labels), kernel(features, self._real)
        apart = distances(features, self._real)
        realistic = precision_recall.realistic(apart, self._radii[precision_recall.K])
        inside = density_coverage.hits(apart, self._radii[density_coverage.K])
        densities = density_coverage.densities(inside)
        figures = {
            "frechet": frechet_to(features, self._normal),
            "kid": from_kernels(own, self._kernels, between),
            "precision": float(realistic.mean()),
            "recall": precision_recall.recall(apart, radii(features, precision_recall.K)),
            "density": float(densities.mean()),
            "coverage": density_coverage.coverage(inside),
        }
        if not intervals:
            return figures
        rows = self._resampled(labels)
        present = np.zeros((len(rows), len(features)), dtype=bool)
        np.put_along_axis(present, rows, True, axis=1)
        parts = halves(labels, self.params.evaluation.bootstrap, self.params.seed)
        varied = {
            "frechet": np.array([frechet_to(features[r], self._normal) for r in rows]),
            "kid": np.array([from_resampled_kernels(own, self._kernels, between, r) for r in rows]),
            "precision": realistic[rows].mean(1),
            "recall": precision_recall.recalls(apart, distances(features, features), parts),
            "density": densities[rows].mean(1),
            "coverage": density_coverage.coverages(inside, present),
        }
        found: dict[str, float] = {}
        for name, value in figures.items():
            found |= self._with_interval(name, value, varied[name])
        return found

    def _memorisation(self, drawn: npt.NDArray[np.uint8], labels: Labels) -> dict[str, float]:
        apart = memorisation.nearest(drawn, self.train.images)
        found = self._share("memorised", apart < memorisation.threshold(self._nearest))
        ratio = memorisation.ratio(apart, self._nearest)
        if ratio is not None:
            varied = np.median(apart[self._resampled(labels)], axis=1) / np.median(self._nearest)
            found |= self._with_interval("nearest_ratio", ratio, varied)
        return found

    def _resampled(self, labels: Labels) -> Labels:
        return resampled(labels, self.params.evaluation.bootstrap, self.params.seed)

    def _with_interval(self, name: str, value: float, varied: Array) -> dict[str, float]:
        low, high = bootstrap_interval(value, varied, self.params.evaluation.confidence)
        if PICTURES[name].share:
            low, high = max(low, 0.0), min(high, 1.0)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def _share(self, name: str, true: npt.NDArray[np.bool_]) -> dict[str, float]:
        low, high = proportion(int(true.sum()), len(true), self.params.evaluation.confidence)
        return {name: float(true.mean()), f"{name}_low": low, f"{name}_high": high}
