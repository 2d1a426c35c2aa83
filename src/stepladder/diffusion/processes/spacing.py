"""Which S of the T timesteps a sampler visits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.diffusion.processes.levels import MOST_NOISE
from stepladder.errors import UserError

Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

SPACINGS = ("trailing", "leading", "linspace", "quadratic", "log_snr", "karras")
KARRAS_RHO = 7.0
LOG_SIGMAS = (-10.0, float(np.log(MOST_NOISE)))  # beyond them a ladder has no rungs: all looks like data, or like noise


def spaced(timesteps: int, steps: int, spacing: str = "trailing", log_sigmas: Array | None = None) -> Steps:
    """``steps`` = S different timesteps of 0, ..., T-1, increasing, ``(S,)``.

    - ``trailing``: every (T/S)-th, ending at T-1 (Lin et al. 2024, table 2): always starts where the noise is.
    - ``leading``: every (T // S)-th from 0 (the default of DDPM's and DDIM's code): never visits T-1 unless S = T.
    - ``linspace``: evenly from 0 to T-1; at S = 1 it is T-1.
    - ``quadratic``: squares of evenly spaced numbers from 0 to T-1 (Song et al. 2021, appendix D.2), denser near the data.
    - ``log_snr``, ``karras``: the timesteps nearest to S even levels of log-SNR, or to ``ladder``'s; need ``log_sigmas``
      ``(T,)``, ln(sigma / alpha) of every step.

    Raises:
        UserError: S is not in 1, ..., T, or there is no such spacing.
    """
    if not 1 <= steps <= timesteps:
        raise UserError(f"S={steps} sampling steps given for a model of T={timesteps}; S must be 1 to {timesteps}.")
    if spacing not in SPACINGS:
        raise UserError(f"There is no spacing {spacing!r}; there are: {', '.join(SPACINGS)}.")
    if spacing == "trailing":
        return np.round(np.arange(timesteps, 0, -timesteps / steps)[:steps]).astype(np.int64)[::-1] - 1
    if spacing == "leading":
        return np.arange(steps, dtype=np.int64) * (timesteps // steps)
    if steps == 1:
        return np.array([timesteps - 1])
    if spacing == "linspace":
        return np.round(np.linspace(0, timesteps - 1, steps)).astype(np.int64)
    if spacing == "quadratic":
        return _distinct(np.round(np.linspace(0, np.sqrt(timesteps - 1), steps) ** 2).astype(np.int64), timesteps)
    assert log_sigmas is not None, f"{spacing} needs the levels of the steps"
    rising = np.clip(log_sigmas, *LOG_SIGMAS)
    rungs = ladder(float(rising[0]), float(rising[-1]), steps, spacing)[::-1]
    nearest = np.interp(rungs, rising, np.arange(timesteps))
    nearest[-1] = timesteps - 1
    return _distinct(np.round(nearest).astype(np.int64), timesteps)


def ladder(least: float, most: float, steps: int, spacing: str) -> Array:
    """S falling values of ln(sigma / alpha) from ``most`` to ``least``, ``(S,)``; at S = 1 it is ``most``.

    ``log_snr``: evenly spaced. ``karras``: Karras et al. (2022), equation 5, rho = 7.
    """
    share = np.arange(steps) / max(steps - 1, 1)
    if spacing == "log_snr":
        return most + share * (least - most)
    high, low = np.exp(most / KARRAS_RHO), np.exp(least / KARRAS_RHO)
    levels: Array = KARRAS_RHO * np.log(high + share * (low - high))
    return levels


def _distinct(steps: Steps, timesteps: int) -> Steps:
    """Steps that coincide, moved up; those that this moves past the end, moved down again."""
    index = np.arange(len(steps))
    steps = np.maximum.accumulate(steps - index) + index
    return np.minimum(steps, timesteps - len(steps) + index)
