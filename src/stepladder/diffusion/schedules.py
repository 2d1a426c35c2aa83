"""Noise schedules, valid at every number of timesteps T >= 1.

A schedule is one continuous curve of the share of signal, alphas_cumprod(u), over u from 0 (data) to 1 (noise). T steps
are its values at u = 1/T, 2/T, ..., 1: T changes the discretisation and nothing else, so that models of different T
can be compared. All tables are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.errors import UserError

Array = npt.NDArray[np.float64]

LINEAR_BETAS = np.linspace(1e-4, 0.02, 1000)
COSINE_OFFSET = 0.008
LARGEST_BETA = 0.999


@dataclass(frozen=True)
class Schedule:
    """The noise of T steps.

    Attributes:
        betas: ``(T,)``, in (0, 1): share of the variance that step t = 0, ..., T-1 replaces by noise.
        alphas_cumprod: ``(T,)``, decreasing: share of signal left after step t.
    """

    betas: Array
    alphas_cumprod: Array

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)

    @classmethod
    def of(cls, alphas_cumprod: Array) -> Schedule:
        """The schedule that leaves the given shares of signal ``(T,)``."""
        before = np.concatenate([[1.0], alphas_cumprod[:-1]])
        return cls(1 - alphas_cumprod / before, alphas_cumprod)

    def respaced(self, steps: npt.NDArray[np.int64]) -> Schedule:
        """The chain that visits only ``steps`` (increasing, ``(S,)``): Nichol and Dhariwal (2021), section 4."""
        return Schedule.of(self.alphas_cumprod[steps])


def linear(u: Array) -> Array:
    """Ho et al. (2020): at T = 1000 the betas rise from 1e-4 to 0.02; in between, log-linear in alphas_cumprod."""
    log_signal = np.concatenate([[0.0], np.cumsum(np.log1p(-LINEAR_BETAS))])
    return np.exp(np.interp(u * len(LINEAR_BETAS), np.arange(len(log_signal)), log_signal))


def cosine(u: Array) -> Array:
    """Nichol and Dhariwal (2021), equation 17."""
    angle = (u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * np.pi / 2
    return np.cos(angle) ** 2 / np.cos(COSINE_OFFSET / (1 + COSINE_OFFSET) * np.pi / 2) ** 2


CURVES: dict[str, Callable[[Array], Array]] = {"linear": linear, "cosine": cosine}


def schedule(name: str, timesteps: int) -> Schedule:
    """The schedule ``name`` at T = ``timesteps``.

    No beta exceeds 0.999, as published for the cosine schedule, whose last step would else leave no signal at all.

    Raises:
        UserError: ``timesteps`` is less than 1, or there is no such schedule.
    """
    if timesteps < 1:
        raise UserError(f"T={timesteps} timesteps given; a diffusion process has 1 or more.")
    if name not in CURVES:
        raise UserError(f"There is no schedule {name!r}; there are: {', '.join(CURVES)}.")
    signal = CURVES[name](np.arange(timesteps + 1) / timesteps)
    betas = np.minimum(1 - signal[1:] / signal[:-1], LARGEST_BETA)
    return Schedule(betas, np.cumprod(1 - betas))
