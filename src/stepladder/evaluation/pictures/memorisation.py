"""Memorisation: are generated pictures nearer to training pictures than pictures never trained on are?

The distance of a picture to its nearest training picture, in pixels, is compared with that of the held-out pictures: a model
that learned the distribution is as far from its training pictures as they are; one that repeats them is nearer. Nearest
neighbours in pixels show copies and little else (Theis et al. 2016): blurred pictures are near to everything. Comparing with
held-out pictures is from Meehan et al. (2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]
Pictures = npt.NDArray[np.uint8]
PERCENTILE = 1.0
BLOCK = 1024


def nearest(pictures: Pictures, training: Pictures) -> Array:
    """Distance of each of ``pictures`` ``(N, C, H, W)`` to its nearest in ``training`` ``(M, C, H, W)``, ``(N,)``.

    The root of the mean squared difference of pixels, in grey levels, 0 to 255; 0 is a copy.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    candidates = _flat(training, device)
    squares = (candidates * candidates).sum(1)
    distances = []
    for start in range(0, len(pictures), BLOCK):
        block = _flat(pictures[start : start + BLOCK], device)
        numbers = torch.addmm(squares, block, candidates.T, alpha=-2).argmin(1)
        distances.append((block - candidates[numbers]).double().square().mean(1).sqrt().cpu())
    return torch.cat(distances).numpy() if distances else np.empty(0)


def threshold(held_out: Array) -> float:
    """The distance below which a generated picture counts as memorised: the ``PERCENTILE``-th percentile of ``held_out`` ``(M,)``."""
    return float(np.percentile(held_out, PERCENTILE))


def ratio(generated: Array, held_out: Array) -> float | None:
    """Median of ``generated`` ``(N,)`` over median of ``held_out``; 1: as far from the training pictures as new pictures are.

    ``None`` where half of the held-out pictures are training pictures themselves.
    """
    median = float(np.median(held_out))
    return float(np.median(generated)) / median if median else None


def _flat(pictures: Pictures, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.array(pictures)).to(device).float().flatten(1) - 127.5
