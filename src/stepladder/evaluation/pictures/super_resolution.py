"""Whether enlarged pictures agree with the small ones, and how near they are to the originals.

A peak signal-to-noise ratio does not measure sharpness: the mean of all pictures that fit gets a better one than each of them. So it
is given together with the Frechet distance, and with the ratio of enlarging without a model.
"""

from __future__ import annotations

import math

from torch import Tensor

from stepladder.diffusion.super_resolution import enlarged, low_resolution

PEAK = 2.0  # of [-1, 1]
MIN_ERROR = 1e-10  # mean squared error; below it, the ratio grows no further


def psnr(pictures: Tensor, others: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels, at most 106, of the mean squared error over all of ``(N, C, H, W)`` in [-1, 1]."""
    error = float((pictures.double() - others.double()).square().mean())
    return 10 * math.log10(PEAK**2 / max(error, MIN_ERROR))


def fidelity(generated: Tensor, real: Tensor, low: Tensor) -> dict[str, float]:
    """Figures of ``generated`` ``(N, C, H, W)``, generated row by row from ``low`` ``(N, C, h, w)``, which is ``real`` made small.

    ``consistency_psnr``: of ``generated``, made small, to ``low``. ``psnr``: of ``generated`` to ``real``; ``nearest_psnr`` and
    ``bicubic_psnr``: of ``low`` enlarged without a model to ``real``.
    """
    height, width = real.shape[2:]
    without_model = {f"{how}_psnr": psnr(enlarged(low, height, width, how), real) for how in ("nearest", "bicubic")}
    small = low_resolution(generated, low.shape[2])
    return {"consistency_psnr": psnr(small, low), "psnr": psnr(generated, real)} | without_model
