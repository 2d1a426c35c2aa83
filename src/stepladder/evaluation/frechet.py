"""The Frechet distance between two sets of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frechet_distance(a: Array, b: Array) -> float:
    """Squared 2-Wasserstein distance of the normals fitted to features ``a`` ``(N, D)`` and ``b`` ``(M, D)``.

    ``|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)``: Dowson and Landau (1982); Heusel et al. (2017),
    equation 6, with Inception features the FID. The symmetric form needs eigenvalues of symmetric matrices only.
    """
    difference = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(np.atleast_2d(cov_a))
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ np.atleast_2d(cov_b) @ root).clip(min=0)).sum()
    return float(difference @ difference + np.trace(np.atleast_2d(cov_a + cov_b)) - 2 * cross)
