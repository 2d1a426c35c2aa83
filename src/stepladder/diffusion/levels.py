"""The noise levels that a sampler visits, whatever the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepladder.diffusion.process import level_at, time_at
from stepladder.diffusion.schedules import of_config
from stepladder.diffusion.settings import settings
from stepladder.diffusion.spacing import LOG_SIGMAS, ladder, spaced

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


def levels(config: dict[str, Any], steps: int, spacing: str = "trailing") -> Levels:
    """The S = ``steps`` levels that a sampler of the model visits.

    A discrete model visits S of its T steps, see ``spacing.spaced``. In continuous time the same choice is made among
    u = 1/T, 2/T, ..., 1, T being the largest S that the model is used with; ``log_snr`` and ``karras`` give its levels
    exactly.

    Raises:
        UserError: S is not in 1, ..., T, or there is no such spacing.
    """
    timesteps = settings(config)["timesteps"]
    if settings(config)["process"] == "discrete":
        table = _chain(config)
        return _chosen(table, spaced(timesteps, steps, spacing, table.log_sigmas()))
    grid = _continuous(config, np.arange(1, timesteps + 1) / timesteps)
    if spacing not in ("log_snr", "karras"):
        return _chosen(grid, spaced(timesteps, steps, spacing))
    spaced(timesteps, steps)  # refuses what S cannot be
    cleanest = 0.0 if settings(config)["process"] == "edm" else 1 / timesteps  # edm ends at its smallest sigma
    ends = _continuous(config, np.array([cleanest, 1.0])).log_sigmas()
    least, most = np.clip(ends, *LOG_SIGMAS).tolist()
    u = time_at(config)(ladder(least, most, steps, spacing))
    u[0] = 1.0
    return _continuous(config, u)


def raised(config: dict[str, Any], visited: Levels, gamma: float) -> Levels:
    """``visited`` with sigma / alpha raised to 1 + ``gamma`` times its value, as far as the process goes.

    Of a discrete model to the next of its T steps that is at least as noisy.
    """
    with np.errstate(invalid="ignore"):
        wanted = visited.log_sigmas() + np.log1p(gamma)
    if settings(config)["process"] != "discrete":
        u = np.maximum(time_at(config)(np.minimum(wanted, 100.0)), visited.times)
        return _continuous(config, np.minimum(u, 1.0))
    table = _chain(config)
    numbers = np.searchsorted(table.log_sigmas(), wanted - 1e-9)
    return _chosen(table, np.minimum(numbers, len(table) - 1)[::-1])


def _chain(config: dict[str, Any]) -> Levels:
    """All T steps of a discrete model, from the cleanest to the noisiest."""
    signal = of_config(config).alphas_cumprod
    return Levels(np.sqrt(signal), np.sqrt(1 - signal), np.arange(1, len(signal) + 1) / len(signal))


def _continuous(config: dict[str, Any], u: Array) -> Levels:
    return Levels(*level_at(config)(u), u)


def _chosen(table: Levels, numbers: npt.NDArray[np.int64]) -> Levels:
    """The rows ``numbers``, increasing, from the noisiest."""
    rows = numbers[::-1]
    return Levels(table.alphas[rows], table.sigmas[rows], table.times[rows])
