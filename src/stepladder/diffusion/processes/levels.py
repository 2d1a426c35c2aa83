"""Noise levels, in the form that every process, sampler and bound uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.diffusion.processes.schedules import Schedule

Array = npt.NDArray[np.float64]

MOST_NOISE = 80.0  # sigma / alpha, beyond which all looks like noise: limit of EDM, of ladders and of Heun's correction


@dataclass(frozen=True)
class Levels:
    """Noise levels: ``x = alpha x_0 + sigma eps``. A sampler visits them from the noisiest to the cleanest, and after the last
    comes the data, (alpha, sigma) = (1, 0); a bound reads them from the cleanest.

    Attributes:
        alphas, sigmas: ``(S,)``.
        times: ``(S,)`` in [0, 1]: the network's input ``time``.
    """  # fmt: skip

    alphas: Array
    sigmas: Array
    times: Array

    def __len__(self) -> int:
        return len(self.times)

    def log_sigmas(self) -> Array:
        """ln(sigma / alpha), ``(S,)``; infinite where no signal is left."""
        with np.errstate(divide="ignore"):
            return np.log(self.sigmas) - np.log(self.alphas)

    def joined(self, other: Levels) -> Levels:
        """These levels, then the other's."""
        return Levels(
            *(np.concatenate([getattr(part, f) for part in (self, other)]) for f in ("alphas", "sigmas", "times"))
        )

    def rows(self, numbers: npt.NDArray[np.int64]) -> Levels:
        """The levels with these ``numbers``, in that order."""
        return Levels(self.alphas[numbers], self.sigmas[numbers], self.times[numbers])

    def chain(self) -> Schedule:
        """The variance preserving chain through these levels, which go from the cleanest to the noisiest."""
        return Schedule.of(self.alphas**2 / (self.alphas**2 + self.sigmas**2))
