"""Improved precision and recall: how many drawn pictures look real, how many real ones could have been drawn.

Kynkaanniemi et al. (2019), equations 1 and 2: a set's manifold is the union of balls around its members that reach to their
``k``-th nearest other; precision is the share of drawn pictures in the real manifold, recall that of real ones in the drawn.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.evaluation.pictures.neighbours import Array, distances, radii

K = 3  # theirs
NEAREST = 32  # neighbours kept of each picture: among them are the k-th of half of the set


def precision_recall(drawn: Array, real: Array, k: int = K) -> tuple[float, float]:
    """(precision, recall) of features ``drawn`` ``(N, D)`` against ``real`` ``(M, D)``, both in [0, 1]."""
    between = distances(drawn, real)
    return float(realistic(between, radii(real, k)).mean()), recall(between, radii(drawn, k))


def realistic(between: Array, real_radii: Array) -> npt.NDArray[np.bool_]:
    """Which drawn pictures are in the real manifold, ``(N,)``; ``between`` ``(N, M)``: drawn to real, ``real_radii`` ``(M,)``."""
    inside: npt.NDArray[np.bool_] = np.any(between <= real_radii, axis=1)
    return inside


def recall(between: Array, drawn_radii: Array) -> float:
    """The share of real pictures in the drawn manifold; ``drawn_radii`` ``(N,)``."""
    return float((between <= drawn_radii[:, None]).any(0).mean())


def recalls(between: Array, own: Array, kept: npt.NDArray[np.bool_], k: int = K) -> Array:
    """``recall`` of each part of the drawn pictures that a row of ``kept`` ``(R, N)`` names, with the radii of that part.

    ``own`` ``(N, N)``: distances between the drawn pictures. Each picture's nearest ``NEAREST`` are sorted once, so that a part
    costs no sorting; where they do not hold k of the part, the last of them stands for the k-th.
    """
    others = own.copy()
    np.fill_diagonal(others, np.inf)
    count = min(NEAREST, len(own) - 1)
    nearest = np.argpartition(others, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(others, nearest, 1).argsort(1)
    nearest = np.take_along_axis(nearest, order, 1)
    near = np.take_along_axis(others, nearest, 1)
    wide = np.ascontiguousarray(between.astype(np.float32))
    found = np.empty(len(kept))
    for i, part in enumerate(kept):
        rows = np.flatnonzero(part)
        inside = part[nearest[rows]].cumsum(1) >= k
        place = np.where(inside[:, -1], inside.argmax(1), count - 1)
        reach = near[rows, place].astype(np.float32)
        found[i] = (wide[rows] <= reach[:, None]).any(0).mean()
    return found
