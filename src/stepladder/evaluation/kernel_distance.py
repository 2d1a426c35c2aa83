"""The kernel distance (KID) between two sets of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def kernel(a: Array, b: Array) -> Array:
    """``(a . b / D + 1)^3`` of features ``(N, D)`` and ``(M, D)``, ``(N, M)``: Binkowski et al. (2018), section 4."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def kernel_distance(a: Array, b: Array) -> float:
    """Unbiased squared maximum mean discrepancy with that kernel; 0 in expectation for equal distributions."""
    return from_kernels(kernel(a, a), kernel(b, b), kernel(a, b))


def from_resampled_kernels(aa: Array, bb: Array, ab: Array, rows: npt.NDArray[np.int64]) -> float:
    """``from_kernels(aa[rows][:, rows], bb, ab[rows])`` for ``rows`` ``(N,)`` drawn with replacement, without the copies."""
    n, m = len(aa), len(bb)
    drawn = np.bincount(rows, minlength=n).astype(np.float64)
    within_a = (drawn @ aa @ drawn - drawn @ aa.diagonal()) / (n * (n - 1))
    within_b = (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within_a + within_b - 2 * (drawn @ ab).mean() / n)


def from_kernels(aa: Array, bb: Array, ab: Array) -> float:
    """The same from the kernel matrices ``(N, N)``, ``(M, M)``, ``(N, M)``: Gretton et al. (2012), equation 3."""
    n, m = len(aa), len(bb)
    within_a = (aa.sum() - np.trace(aa)) / (n * (n - 1))
    within_b = (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within_a + within_b - 2 * ab.mean())
