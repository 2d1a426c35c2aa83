"""The variational autoencoder: its network, and the bound that it is trained and judged by.

Kingma and Welling (2014). The likelihood is that of the uint8 values themselves, so the bound is one on bits a dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stepladder.baselines.networks import Downward, Upward

HALF_BIN = 1 / 255  # of pixels scaled to [-1, 1]


class Normal(NamedTuple):
    """Independent normals, by their means and the logarithms of their standard deviations, of one shape or broadcast."""

    mean: Tensor
    log_std: Tensor


class VAE(nn.Module):
    """Encoder q(z | x, y) and decoder p(x | z, y); the prior of z is standard normal whatever the class y.

    Args:
        shape: (C, H, W) of a picture; channels, channel_mult: those of the levels, the same in encoder and decoder;
        latent: dimension of z; classes: their number, 0: unconditional; variance: of the decoder, ``shared`` by all
        pixels of all pictures (one number, learned: sigma-VAE of Rybkin et al. 2021) or ``pixel``, decoded from z.
    """

    def __init__(
        self,
        shape: Sequence[int],
        channels: int,
        channel_mult: Sequence[int],
        latent: int,
        classes: int,
        variance: str,
    ) -> None:
        super().__init__()
        self.variance = variance
        outputs = 2 * shape[0] if variance == "pixel" else shape[0]
        self.encoder = Downward(shape, channels, channel_mult, normalised=True)
        self.label = nn.Embedding(classes, latent) if classes else None
        self.posterior = nn.Linear(self.encoder.width + (latent if classes else 0), 2 * latent)
        self.decoder = Upward((outputs, *shape[1:]), channels, channel_mult, latent, classes)
        if variance == "shared":
            self.log_std = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor, labels: Tensor) -> Normal:
        """x: ``(N, C, H, W)`` in [-1, 1]; labels: ``(N,)``; gives q(z | x, y), ``(N, latent)``."""
        features = self.encoder(x)
        if self.label is not None:
            features = torch.cat([features, self.label(labels)], dim=1)
        mean, log_std = self.posterior(features).float().chunk(2, dim=1)
        return Normal(mean, log_std.clamp(-10, 5))

    def decode(self, z: Tensor, labels: Tensor) -> Normal:
        """z: ``(N, latent)``; gives p(x | z, y), ``(N, C, H, W)``; its variance may be one number."""
        decoded = self.decoder(z, labels).float()
        if self.variance == "shared":
            return Normal(decoded, self.log_std.clamp(min=-7))
        mean, log_std = decoded.chunk(2, dim=1)
        return Normal(mean, log_std.clamp(-7, 3))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """The mean picture of z: ``(N, latent)`` and labels ``(N,)`` to ``(N, C, H, W)``, not clipped."""
        return self.decode(z, labels).mean


def divergence(posterior: Normal) -> Tensor:
    """KL(posterior || standard normal) in nats, ``(N, d)`` to ``(N,)``: Kingma and Welling (2014), appendix B."""
    mean, log_std = posterior
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)


def discretised_log_likelihood(x: Tensor, normal: Normal) -> Tensor:
    """ln P(x) in nats of uint8 pixels scaled to [-1, 1], like ``x``, when a normal is rounded to them.

    The outermost values take the tails (Ho et al. 2020, equation 13). By logarithms of distribution functions, on the
    side of the mean where they are small: exact and with gradients however far x lies.
    """
    std = normal.log_std.exp()
    low, high = (x - HALF_BIN - normal.mean) / std, (x + HALF_BIN - normal.mean) / std
    upper = low > 0  # there by symmetry, with both edges below the mean
    below = torch.special.log_ndtr(torch.where(upper, -high, low))
    above = torch.special.log_ndtr(torch.where(upper, -low, high))
    inside = above + torch.log(-torch.expm1((below - above).clamp(max=-1e-6)))
    first, last = x < -1 + HALF_BIN, x > 1 - HALF_BIN
    ends = torch.special.log_ndtr(torch.where(first, high, -low))
    return torch.where(first | last, ends, inside)


class Bound(NamedTuple):
    """The two parts of the evidence lower bound, in nats a picture, ``(N,)``: ``reconstruction - divergence``."""

    reconstruction: Tensor
    divergence: Tensor


def bound(x: Tensor, posterior: Normal, decode: Callable[[Tensor], Normal], eps: Tensor) -> Bound:
    """One-sample estimate of ln P(x) >= E_q[ln P(x | z)] - KL(q || prior): Kingma and Welling (2014), equation 3.

    x: uint8 pixels scaled to [-1, 1], ``(N, ...)``; eps: ``(N, d)`` standard normal noise, from which z is made.
    """
    z = posterior.mean + posterior.log_std.exp() * eps
    reconstruction = discretised_log_likelihood(x, decode(z)).flatten(1).sum(1)
    return Bound(reconstruction, divergence(posterior))


def bits_per_dim(nats: Tensor, dimensions: int) -> Tensor:
    """The bound in bits for each of the ``dimensions`` values of a picture, from ln P(x) in nats."""
    return -nats / (dimensions * math.log(2))
