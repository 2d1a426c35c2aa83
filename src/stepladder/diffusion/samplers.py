"""Samplers: plain functions from noise to pictures.

Each takes ``denoise(x_t, t) -> x_0`` (t: the timestep, an int), ``x`` ``(N, C, H, W)`` standard normal, the model's
``Schedule``, and the timesteps to visit; ``noise()`` gives fresh standard normal tensors like ``x``; ``callback(i, t, x, x_0)``
is called after each step. Coefficients are floats computed once: a step is a handful of tensor operations.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stepladder.diffusion.process import posterior
from stepladder.diffusion.schedules import Schedule

Denoise = Callable[[Tensor, int], Tensor]
Noise = Callable[[], Tensor]
Callback = Callable[[int, int, Tensor, Tensor], None]
Steps = npt.NDArray[np.int64]


def ancestral(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    steps: Steps,
    noise: Noise,
    *,
    variance: str = "fixed_small",
    clip: bool = True,
    callback: Callback | None = None,
) -> Tensor:
    """DDPM: Ho et al. (2020), algorithm 2, on the chain respaced to ``steps``.

    ``variance`` ``fixed_small`` is that of the posterior, ``fixed_large`` is beta (their section 3.2).
    """
    chain = schedule.respaced(steps)
    for i in reversed(range(len(steps))):
        signal, before = chain.alphas_cumprod[i], chain.alphas_cumprod[i - 1] if i else 1.0
        of_x_0, of_x_t, smallest = posterior(chain.betas[i], signal, before)
        x_0 = _clipped(denoise(x, int(steps[i])), clip)
        x = of_x_0 * x_0 + of_x_t * x
        if i:
            x = x + float(smallest if variance == "fixed_small" else chain.betas[i]) ** 0.5 * noise()
        if callback is not None:
            callback(len(steps) - 1 - i, int(steps[i]), x, x_0)
    return x


def ddim(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    steps: Steps,
    noise: Noise,
    *,
    eta: float = 0.0,
    clip: bool = True,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM: Song et al. (2021), equation 12; ``eta`` 0 is deterministic, 1 is DDPM with the small variance.

    A clipped ``x_0`` changes the noise that goes with it, as in the code of Dhariwal and Nichol (2021).
    """
    signals = schedule.alphas_cumprod[steps]
    for i in reversed(range(len(steps))):
        signal, before = float(signals[i]), float(signals[i - 1]) if i else 1.0
        sigma = eta * ((1 - before) / (1 - signal) * (1 - signal / before)) ** 0.5
        x_0 = _clipped(denoise(x, int(steps[i])), clip)
        of_eps = max(1 - before - sigma**2, 0.0) ** 0.5 / (1 - signal) ** 0.5
        # sqrt(before) x_0 + direction, with eps = (x - sqrt(signal) x_0) / sqrt(1 - signal) put in
        x = (before**0.5 - of_eps * signal**0.5) * x_0 + of_eps * x
        if sigma and i:
            x = x + sigma * noise()
        if callback is not None:
            callback(len(steps) - 1 - i, int(steps[i]), x, x_0)
    return x


def _clipped(x_0: Tensor, clip: bool) -> Tensor:
    return x_0.clamp(-1, 1) if clip else x_0
