"""Density and coverage: precision and recall that one outlier does not decide.

Naeem et al. (2020), section 3: balls around real pictures only, which reach to their ``k``-th nearest other real one. Density
counts in how many of them a drawn picture lies (1 in expectation for equal distributions, more where pictures crowd in the
middle); coverage is the share of real pictures whose ball holds a drawn one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.evaluation.pictures.neighbours import Array, distances, radii

K = 5  # theirs


def density_coverage(drawn: Array, real: Array, k: int = K) -> tuple[float, float]:
    """(density, coverage) of features ``drawn`` ``(N, D)`` against ``real`` ``(M, D)``; density >= 0, coverage in [0, 1]."""
    inside = hits(distances(drawn, real), radii(real, k))
    return float(densities(inside, k).mean()), coverage(inside)


def hits(between: Array, real_radii: Array) -> npt.NDArray[np.bool_]:
    """Which drawn pictures lie in which real balls, ``(N, M)``; ``between`` ``(N, M)``: drawn to real, ``real_radii`` ``(M,)``."""
    return between <= real_radii


def densities(inside: npt.NDArray[np.bool_], k: int = K) -> Array:
    """Each drawn picture's part of the density, ``(N,)``; their mean is the density."""
    parts: Array = inside.sum(1) / min(k, inside.shape[1] - 1)
    return parts


def coverage(inside: npt.NDArray[np.bool_]) -> float:
    """The share of real balls that hold a drawn picture."""
    return float(inside.any(0).mean())


def coverages(inside: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]) -> Array:
    """``coverage`` by each part of the drawn pictures that a row of ``kept`` ``(R, N)`` names."""
    shares: Array = (kept.astype(np.float32) @ inside.astype(np.float32) > 0.5).mean(1)
    return shares
