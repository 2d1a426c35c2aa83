"""The noise levels that a sampler visits, whatever the process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Levels:
    """S noise levels, from the noisiest to the cleanest; after the last comes the data, (alpha, sigma) = (1, 0).

    Attributes:
        alphas, sigmas: ``(S,)``: ``x = alpha x_0 + sigma eps``.
        times: ``(S,)`` in [0, 1]: what the network is told.
    """

    alphas: Array
    sigmas: Array
    times: Array
