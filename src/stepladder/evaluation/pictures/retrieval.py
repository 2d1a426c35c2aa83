"""Whether a picture generated from a text shows that text: can the real picture of that text be found by it?

Each generated picture is a query among the real pictures of its group (its style, say). Pictures are compared by layout and
colour: average-pooled to 8x8 and by the Euclidean distance of those pixels, which needs no network trained on either.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 8


def retrieval(generated: Tensor, real: Tensor, groups: npt.NDArray[np.int64]) -> dict[str, float]:
    """How well each of ``generated`` finds the picture of the same row in ``real`` among those of its group.

    Args:
        generated, real: ``(N, C, H, W)``, row i of both for the same text; groups: ``(N,)``.

    Returns:
        ``retrieval_rank``: mean share of the group's other pictures that are nearer (0 best, 0.5 chance); ties count half.
        ``retrieval_top5``: share of pictures of which fewer than five others are nearer; ``retrieval_top5_chance``: what
        chance gives.
    """
    generated_pixels, real_pixels = _layout(generated), _layout(real)
    ranks, hits, chance = [], [], []
    for group in np.unique(groups):
        rows = torch.from_numpy(np.flatnonzero(groups == group))
        distances = torch.cdist(generated_pixels[rows], real_pixels[rows], compute_mode="donot_use_mm_for_euclid_dist")
        to_match = distances.diagonal()[:, None]
        nearer = (distances < to_match).sum(1) + 0.5 * ((distances == to_match).sum(1) - 1)
        others = max(len(rows) - 1, 1)
        ranks += (nearer / others).tolist()
        hits += (nearer < 5).double().tolist()
        chance += [min(1.0, 5 / len(rows))] * len(rows)
    return {
        "retrieval_rank": float(np.mean(ranks)),
        "retrieval_top5": float(np.mean(hits)),
        "retrieval_top5_chance": float(np.mean(chance)),
    }


def _layout(pictures: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(pictures.double(), SIDE).flatten(1)
