"""The adversarial pair: its networks and their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepladder.baselines.networks import Downward, Upward

Critic = Callable[[Tensor], Tensor]


class Generator(nn.Module):
    """From a code and a class to a picture in [-1, 1].

    Args:
        see ``networks.Upward``.
    """

    def __init__(
        self, shape: Sequence[int], channels: int, channel_mult: Sequence[int], latent: int, classes: int
    ) -> None:
        super().__init__()
        self.upward = Upward(shape, channels, channel_mult, latent, classes)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """z: ``(N, latent)``; labels: ``(N,)``; gives ``(N, C, H, W)``."""
        pictures: Tensor = self.upward(z, labels).tanh()
        return pictures


class Discriminator(nn.Module):
    """From a picture and a class to a logit: projection discriminator of Miyato and Koyama (2018), equation 3.

    It has no normalisation, since the penalties need each picture's own gradient. Its convolutions start so that they
    keep the variance (He et al. 2015); with smaller weights it learns slower than the generator and becomes useless.
    """

    def __init__(self, shape: Sequence[int], channels: int, channel_mult: Sequence[int], classes: int) -> None:
        super().__init__()
        self.downward = Downward(shape, channels, channel_mult, normalised=False)
        self.linear = nn.Linear(self.downward.width, 1)
        self.label = nn.Embedding(classes, self.downward.width) if classes else None
        if self.label is not None:
            nn.init.zeros_(self.label.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """x: ``(N, C, H, W)``; labels: ``(N,)``; gives logits ``(N,)``, high for real."""
        features = self.downward(x)
        logits: Tensor = self.linear(features).squeeze(1)
        if self.label is not None:
            logits = logits + (self.label(labels) * features).sum(1)
        return logits


def discriminator_loss(loss: str, real: Tensor, generated: Tensor) -> Tensor:
    """From logits ``(N,)`` of real and generated pictures: Goodfellow et al. (2014), equation 1, or, ``wgan_gp``,
    Gulrajani et al. (2017), equation 2.
    """
    if loss == "wgan_gp":
        return generated.mean() - real.mean()
    return F.softplus(-real).mean() + F.softplus(generated).mean()


def generator_loss(loss: str, generated: Tensor) -> Tensor:
    """From logits ``(N,)`` of generated pictures: non-saturating (Goodfellow et al. 2014, section 3) or ``wgan_gp``."""
    return -generated.mean() if loss == "wgan_gp" else F.softplus(-generated).mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """Half the mean squared norm of the critic's gradient at real pictures: Mescheder et al. (2018), equation 9."""
    return 0.5 * _gradient(critic, real).square().flatten(1).sum(1).mean()


def gradient_penalty(critic: Critic, real: Tensor, generated: Tensor, share: Tensor) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient, between real and generated pictures.

    Gulrajani et al. (2017), equation 3; ``share`` ``(N,)`` in [0, 1] says how far from real to generated.
    """
    between = torch.lerp(real, generated, share[:, None, None, None])
    norms: Tensor = _gradient(critic, between).flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def _gradient(critic: Critic, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient
