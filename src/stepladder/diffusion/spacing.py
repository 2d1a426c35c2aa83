"""Which S of the T timesteps a sampler visits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.errors import UserError


def spaced(timesteps: int, steps: int, spacing: str = "trailing") -> npt.NDArray[np.int64]:
    """``steps`` = S different timesteps of 0, ..., T-1, increasing, ``(S,)``.

    - ``trailing``: every (T/S)-th, ending at T-1 (Lin et al. 2024, table 2): always starts where the noise is.
    - ``leading``: every (T // S)-th from 0 (the default of DDPM's and DDIM's code): never visits T-1 unless S = T.
    - ``linspace``: evenly from 0 to T-1; at S = 1 it is T-1.
    - ``quadratic``: squares of evenly spaced numbers from 0 to T-1 (Song et al. 2021, appendix D.2), denser near the data.

    Raises:
        UserError: S is not in 1, ..., T, or there is no such spacing.
    """
    if not 1 <= steps <= timesteps:
        raise UserError(f"S={steps} sampling steps given for a model of T={timesteps}; S must be 1 to {timesteps}.")
    if spacing == "trailing":
        return np.round(np.arange(timesteps, 0, -timesteps / steps)[:steps]).astype(np.int64)[::-1] - 1
    if spacing == "leading":
        return np.arange(steps, dtype=np.int64) * (timesteps // steps)
    if steps == 1 and spacing in ("linspace", "quadratic"):
        return np.array([timesteps - 1])
    if spacing == "linspace":
        return np.round(np.linspace(0, timesteps - 1, steps)).astype(np.int64)
    if spacing == "quadratic":
        return _distinct(np.round(np.linspace(0, np.sqrt(timesteps - 1), steps) ** 2).astype(np.int64), timesteps)
    raise UserError(f"There is no spacing {spacing!r}; there are: trailing, leading, linspace, quadratic.")


def _distinct(steps: npt.NDArray[np.int64], timesteps: int) -> npt.NDArray[np.int64]:
    """Steps that coincide, moved up; those that this moves past the end, moved down again."""
    index = np.arange(len(steps))
    steps = np.maximum.accumulate(steps - index) + index
    return np.minimum(steps, timesteps - len(steps) + index)
