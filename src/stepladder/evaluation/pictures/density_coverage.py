"""Density and coverage: like precision and recall, but not decided by a single outlier.

Naeem et al. (2020), section 3: a ball around each real picture reaches to its ``k``-th nearest other real one. Density is
the mean number of balls, over ``k``, that a generated picture lies in (1 in expectation for equal distributions, more where pictures
crowd in the middle); coverage is the share of real pictures whose ball contains a generated one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.evaluation.pictures.neighbours import Array, distances, radii

K = 5  # as in the paper


def density_coverage(generated: Array, real: Array, k: int = K) -> tuple[float, float]:
    """(density, coverage) of features ``generated`` ``(N, D)`` against ``real`` ``(M, D)``; density >= 0, coverage in [0, 1]."""
    inside = hits(distances(generated, real), radii(real, k))
    return float(densities(inside, k).mean()), coverage(inside)


def hits(to_real: Array, real_radii: Array) -> npt.NDArray[np.bool_]:
    """Which generated pictures lie in which real balls, ``(N, M)``; ``to_real``: distances ``(N, M)``, ``real_radii``: ``(M,)``."""
    return to_real <= real_radii


def densities(inside: npt.NDArray[np.bool_], k: int = K) -> Array:
    """The part of the density of each generated picture, ``(N,)``; their mean is the density."""
    parts: Array = inside.sum(1) / min(k, inside.shape[1] - 1)
    return parts


def coverage(inside: npt.NDArray[np.bool_]) -> float:
    """The share of real balls that contain a generated picture."""
    return float(inside.any(0).mean())


def coverages(inside: npt.NDArray[np.bool_], subsets: npt.NDArray[np.bool_]) -> Array:
    """``coverage`` of each subset of the generated pictures, a row of the mask ``subsets`` ``(R, N)`` each."""
    shares: Array = (subsets.astype(np.float32) @ inside.astype(np.float32) > 0.5).mean(1)
    return shares
