"""The kernel distance (KID) between two sets of features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def kernel(a: Array, b: Array) -> Array:
    """``(a . b / D + 1)^3`` of features ``(N, D)`` and ``(M, D)``, ``(N, M)``: Binkowski et al. (2018), section 4."""
    kernels: Array = (a @ b.T / a.shape[1] + 1) ** 3
    return kernels


def within(kernels: Array, labels: Labels) -> Array:
    """Kernels ``(N, N)`` of a set with itself; the diagonal is replaced by the mean of a picture's kernels with others of its class.

    The mean over all entries is then an unbiased estimate for two independent pictures of the same mix of classes. With a single
    class it is the mean over pairs of Gretton et al. (2012), equation 3. Without the replacement that mean would be too low where
    classes have fixed shares: a picture then meets its class less often than by chance. The only picture of a class keeps its kernel.
    """
    same = labels[:, None] == labels
    np.fill_diagonal(same, False)
    others = same.sum(1)
    mean = (kernels * same).sum(1) / np.maximum(others, 1)
    replaced = kernels.copy()
    np.fill_diagonal(replaced, np.where(others, mean, kernels.diagonal()))
    return replaced


def kernel_distance(a: Array, b: Array, labels_a: Labels | None = None, labels_b: Labels | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with that kernel; 0 in expectation for equal distributions.

    ``labels`` ``(N,)`` and ``(M,)``: the classes, where their shares are fixed and not random.
    """
    labels_a = np.zeros(len(a), dtype=np.int64) if labels_a is None else labels_a
    labels_b = np.zeros(len(b), dtype=np.int64) if labels_b is None else labels_b
    return from_kernels(within(kernel(a, a), labels_a), within(kernel(b, b), labels_b), kernel(a, b))


def from_kernels(aa: Array, bb: Array, ab: Array) -> float:
    """The same from the matrices of ``within`` ``(N, N)`` and ``(M, M)`` and of ``kernel`` ``(N, M)``."""
    return float(aa.mean() + bb.mean() - 2 * ab.mean())


def from_resampled_kernels(aa: Array, bb: Array, ab: Array, rows: npt.NDArray[np.int64]) -> float:
    """``from_kernels(aa[rows][:, rows], bb, ab[rows])`` for ``rows`` ``(N,)`` sampled with replacement, without the copies."""
    share = np.bincount(rows, minlength=len(aa)) / len(rows)
    return float(share @ aa @ share + bb.mean() - 2 * (share @ ab).mean())
