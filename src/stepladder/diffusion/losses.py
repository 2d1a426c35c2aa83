"""Losses of each picture: squared error, and the terms of the variational bound in bits/dim.

Nichol and Dhariwal (2021). The bound is L_0 + ... + L_{T-1} + L_T; over uniform t, T times the term at t has the mean
L_0 + ... + L_{T-1}, and L_T has nothing to learn. The hybrid loss is simple + lambda T L_t, as in their published code (which
divides T L_t by 1000: lambda = 0.001), so that lambda multiplies the whole bound at every T.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

HALF_BIN = 1 / 255
EDGE = 0.999
FAR = 100.0  # standard deviations


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean over all but the first dimension: ``(N,)``."""
    return (output - target).square().flatten(1).mean(1)


def normal_kl(difference: Tensor, log_variance: Tensor, other_log_variance: Tensor) -> Tensor:
    """KL(N(m, exp log_variance) || N(m + difference, exp other_log_variance)) in nats, element by element."""
    gap = log_variance - other_log_variance
    return 0.5 * (gap.exp() - 1 - gap + difference.square() * torch.exp(-other_log_variance))


def discretised_gaussian(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-probability, in nats, of the one of 256 bins over [-1, 1] that holds ``x_0``: Ho et al. (2020), equation 13.

    The outer bins reach to infinity. Both tails are computed from the near side, so that no probability is a difference
    of two numbers close to 1.
    """
    precision = torch.exp(-0.5 * log_variance)
    distance = (x_0 - mean) * precision
    upper, lower = distance + HALF_BIN * precision, distance - HALF_BIN * precision
    left = torch.where(distance > 0, -upper, lower)  # the bin, mirrored to the left of the mean
    right = torch.where(distance > 0, -lower, upper)
    log_right = log_normal_cdf(right)
    far = distance.abs().clamp(min=FAR)  # beyond it the bin's share of the tail drowns in the logarithms' own rounding
    share = torch.where(far > FAR, 2 * HALF_BIN * precision * (far + 1 / far), log_right - log_normal_cdf(left))
    inside = log_right + _log1mexp(share)
    inside = torch.where(x_0 < -EDGE, log_normal_cdf(upper), inside)
    return torch.where(x_0 > EDGE, log_normal_cdf(-lower), inside)


def vlb_term(
    x_0: Tensor,
    x_0_hat: Tensor,
    first: Tensor,
    x_0_coef: Tensor,
    log_smallest: Tensor,
    log_variance: Tensor,
) -> Tensor:
    """The bound's term of one step in bits/dim, ``(N,)``: KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), or L_0.

    Ho et al. (2020), equation 5. The two means differ by ``x_0_coef (x_0_hat - x_0)``; at the first step the
    posterior's mean is ``x_0``.

    Args:
        x_0: data ``(N, C, H, W)``; x_0_hat: the network's prediction of it.
        first: ``(N,)``, true where the step is the first, t = 0, whose term is -log p(x_0 | x_1), discretised.
        x_0_coef, log_smallest: of ``process.posteriors``, shaped to broadcast with ``x_0``.
        log_variance: of the reverse step, shaped likewise.
    """
    at_first = first[:, None, None, None]
    kl = normal_kl(x_0_coef * (x_0_hat - x_0), log_smallest, log_variance)
    # At the other steps the decoder's gradient is masked out, but must be finite: its mean there is x_0 itself.
    decoded = -discretised_gaussian(x_0, torch.where(at_first, x_0_hat, x_0), log_variance.expand_as(x_0))
    return torch.where(at_first, decoded, kl).flatten(1).mean(1) / math.log(2)


def learned_range(fraction: Tensor, log_smallest: Tensor, log_largest: Tensor) -> Tensor:
    """Logarithm of the learned variance: Nichol and Dhariwal (2021), equation 15."""
    return fraction * log_largest + (1 - fraction) * log_smallest


class _LogNormalCDF(torch.autograd.Function):
    """torch's derivative, exp(-(log Phi(x) + x^2 / 2)), is wrong by 5% at x = -1,000 in float32, and inf from -3e4 on."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        log_cdf: Tensor = torch.special.log_ndtr(x)
        return log_cdf

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] * math.sqrt(2 / math.pi) / torch.special.erfcx(-x / math.sqrt(2))
        return gradient


def log_normal_cdf(x: Tensor) -> Tensor:
    """log Phi(x) with the derivative phi(x) / Phi(x), right in either tail however far out; like ``x``."""
    log_cdf: Tensor = _LogNormalCDF.apply(x)  # type: ignore[no-untyped-call]  # untyped in torch
    return log_cdf


def _log1mexp(d: Tensor) -> Tensor:
    """log(1 - exp(-d)) for d > 0, without cancellation."""
    small = d < math.log(2)
    near = torch.log(-torch.expm1(-torch.where(small, d, torch.ones_like(d))))
    far = torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(d), d)))
    return torch.where(small, near, far)
