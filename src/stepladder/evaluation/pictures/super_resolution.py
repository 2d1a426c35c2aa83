"""Whether enlarged pictures go with the small ones, and how near they come to those that were made small.

Peak signal-to-noise ratios say nothing of sharpness: the mean of all pictures that fit beats each of them. So they stand
beside the Frechet distance, and beside what enlarging without a model gets.
"""

from __future__ import annotations

import math

from torch import Tensor

from stepladder.diffusion.super_resolution import enlarged, low_resolution

PEAK = 2.0  # of [-1, 1]
LEAST = 1e-10  # mean squared error that is told from none


def psnr(pictures: Tensor, others: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, at most 106, of the mean squared error over all of ``(N, C, H, W)`` in [-1, 1]."""
    error = float((pictures.double() - others.double()).square().mean())
    return 10 * math.log10(PEAK**2 / max(error, LEAST))


def fidelity(drawn: Tensor, real: Tensor, low: Tensor) -> dict[str, float]:
    """Figures of ``drawn`` ``(N, C, H, W)``, row i of it drawn to go with ``low`` ``(N, C, h, w)``, ``real`` made small.

    ``consistency_psnr``: of ``drawn``, made small, to ``low``. ``psnr``: of ``drawn`` to ``real``; ``nearest_psnr`` and
    ``bicubic_psnr``: of ``low`` enlarged without a model to ``real``.
    """
    height, width = real.shape[2:]
    without_model = {f"{how}_psnr": psnr(enlarged(low, height, width, how), real) for how in ("nearest", "bicubic")}
    small = low_resolution(drawn, low.shape[2])
    return {"consistency_psnr": psnr(small, low), "psnr": psnr(drawn, real)} | without_model
