"""Samplers of first order: each step evaluates the network once and keeps nothing from earlier steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.samplers.sampler import Callback, Denoise, Noise, Sampler, combined, pairs

if TYPE_CHECKING:
    from torch import Tensor


def ancestral(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    variance: str = "fixed_small",
    callback: Callback | None = None,
) -> Tensor:
    """DDPM: Ho et al. (2020), algorithm 2, on the chain that visits ``levels``.

    Between levels t and s it draws from q(x_s | x_t, x_0) with variance ``fixed_small``, that of the posterior;
    ``fixed_large``, beta; or ``learned``, between the two: Nichol and Dhariwal (2021), equation 15.
    """
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        scale = alpha / after
        fresh = sigma**2 - (scale * sigma_after) ** 2  # variance that this step of the forward process adds
        denoised = denoise(x, i)
        x = combined(scale * sigma_after**2 / sigma**2, x, after * fresh / sigma**2, denoised.x_0)
        if sigma_after:
            small, large = fresh * sigma_after**2 / sigma**2, fresh
            if variance == "learned":
                assert denoised.variance is not None, "the model learned no variance"
                low, high = math.log(small) / 2, math.log(large) / 2
                x.addcmul_((low + (high - low) * denoised.variance).exp_(), noise())
            else:
                x.add_(noise(), alpha=math.sqrt(small if variance == "fixed_small" else large))
        if callback is not None:
            callback(i, x, denoised.x_0)
    return x


def ddim(
    denoise: Denoise,
    x: Tensor,
    levels: Levels,
    noise: Noise,
    *,
    eta: float = 0.0,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM: Song et al. (2021), equation 12; ``eta`` 0 is deterministic, 1 is DDPM with the small variance.

    The step's eps follows from x and the denoised x_0, also where that was clipped, as in the code of Dhariwal and
    Nichol (2021).
    """
    for i, (alpha, sigma, after, sigma_after) in enumerate(pairs(levels)):
        fresh = sigma**2 - (alpha / after * sigma_after) ** 2
        random = eta * math.sqrt(fresh) * sigma_after / sigma
        x_coef = math.sqrt(max(sigma_after**2 - random**2, 0.0)) / sigma
        x_0 = denoise(x, i).x_0
        x = combined(x_coef, x, after - x_coef * alpha, x_0)
        if random:
            x.add_(noise(), alpha=random)
        if callback is not None:
            callback(i, x, x_0)
    return x


def euler(
    denoise: Denoise, x: Tensor, levels: Levels, noise: Noise | None = None, *, callback: Callback | None = None
) -> Tensor:
    """Euler's method on the probability-flow ODE, first order.

    For a rectified flow ``x + (u_next - u) velocity``: Liu et al. (2023), algorithm 1; on edm's levels Karras et al. (2022),
    algorithm 1, without the correction. In (alpha, sigma) the ODE's tangent is ``x_0 d alpha + eps d sigma``, whose step is
    that of DDIM without noise, whatever the process.
    """
    return ddim(denoise, x, levels, _no_noise, callback=callback)


def _no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler draws no noise")


SAMPLERS = (
    Sampler(
        "ancestral", "ancestral", ancestral, None, ("variance",), lambda sampling, *_: {"variance": sampling.variance}
    ),
    Sampler("ddim", "DDIM", ddim, 1, ("eta",), lambda sampling, *_: {"eta": sampling.eta}),
    Sampler("euler", "Euler", euler, 1),
)
