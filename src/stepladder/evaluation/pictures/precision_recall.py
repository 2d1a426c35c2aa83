"""Improved precision and recall: how many generated pictures look real, how many real ones could have been generated.

Kynkaanniemi et al. (2019), equations 1 and 2: the manifold of a set is the union of balls around its members that reach to their
``k``-th nearest other. Precision is the share of generated pictures in the real manifold, recall that of real ones in the generated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.evaluation.pictures.neighbours import Array, distances, radii

K = 3  # as in the paper
NEAREST = 32  # neighbours kept of each picture: enough to contain the k-th nearest within half of the set


def precision_recall(generated: Array, real: Array, k: int = K) -> tuple[float, float]:
    """(precision, recall) of features ``generated`` ``(N, D)`` against ``real`` ``(M, D)``, both in [0, 1]."""
    to_real = distances(generated, real)
    return float(realistic(to_real, radii(real, k)).mean()), recall(to_real, radii(generated, k))


def realistic(to_real: Array, real_radii: Array) -> npt.NDArray[np.bool_]:
    """Which generated pictures are in the real manifold, ``(N,)``; ``to_real``: distances ``(N, M)``, ``real_radii``: ``(M,)``."""
    inside: npt.NDArray[np.bool_] = np.any(to_real <= real_radii, axis=1)
    return inside


def recall(to_real: Array, generated_radii: Array) -> float:
    """The share of real pictures in the generated manifold; ``generated_radii`` ``(N,)``."""
    return float((to_real <= generated_radii[:, None]).any(0).mean())


def recalls(to_real: Array, distances_within: Array, subsets: npt.NDArray[np.bool_], k: int = K) -> Array:
    """``recall`` of each subset of the generated pictures, a row of the mask ``subsets`` ``(R, N)`` each, with its radii.

    ``distances_within`` ``(N, N)``: between the generated pictures. The ``NEAREST`` nearest of each picture are sorted once, so that a
    subset needs no sorting; where fewer than k of them are in the subset, the last of them is taken as the k-th.
    """
    others = distances_within.copy()
    np.fill_diagonal(others, np.inf)
    count = min(NEAREST, len(distances_within) - 1)
    nearest = np.argpartition(others, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(others, nearest, 1).argsort(1)
    nearest = np.take_along_axis(nearest, order, 1)
    near = np.take_along_axis(others, nearest, 1)
    to_real_32 = np.ascontiguousarray(to_real.astype(np.float32))
    result = np.empty(len(subsets))
    for i, subset in enumerate(subsets):
        rows = np.flatnonzero(subset)
        inside = subset[nearest[rows]].cumsum(1) >= k
        place = np.where(inside[:, -1], inside.argmax(1), count - 1)
        subset_radii = near[rows, place].astype(np.float32)
        result[i] = (to_real_32[rows] <= subset_radii[:, None]).any(0).mean()
    return result
