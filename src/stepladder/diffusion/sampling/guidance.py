"""Guidance: pictures that match their condition better, and vary less."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stepladder.diffusion.networks.conditions import Condition, concatenated, unconditional

Network = Callable[[Tensor, Tensor, Condition], Tensor]
Classifier = Callable[[Tensor, Tensor], Tensor]


def guided(
    network: Network,
    x: Tensor,
    time: Tensor,
    condition: Condition,
    classes: int,
    scale: float,
    *,
    rescale: float = 0.0,
) -> Tensor:
    """Classifier-free guidance: ``f(x) + scale (f(x, condition) - f(x))`` in one forward of both.

    Ho and Salimans (2022), equation 6, with ``scale`` their w + 1; at ``scale`` 1 just ``f(x, condition)``. Of a network that
    also gives a variance (twice the channels of ``x``) only the first half is guided. ``rescale`` is phi of Lin et al. (2024),
    equations 15 and 16: the share by which each picture's guided output is brought back to the standard deviation of the
    output with the condition.

    Args:
        x: ``(N, C, H, W)``; time: ``(N,)``; classes: their number.
    """
    if scale == 1:
        return network(x, time, condition)
    conditions = concatenated(condition, unconditional(condition, classes))
    with_condition, without = network(torch.cat([x, x]), torch.cat([time, time]), conditions).chunk(2)
    variance = with_condition[:, x.shape[1] :]
    with_condition, without = (part[:, : x.shape[1]] for part in (with_condition, without))
    output = without + scale * (with_condition - without)
    if rescale:
        axes = tuple(range(1, x.ndim))
        ratio = with_condition.std(axes, keepdim=True) / output.std(axes, keepdim=True).clamp(min=1e-8)
        output = output * (rescale * ratio + 1 - rescale)
    return torch.cat([output, variance], dim=1) if variance.shape[1] else output


def classifier_guided(
    classifier: Classifier,
    x_0: Tensor,
    x: Tensor,
    time: Tensor,
    labels: Tensor,
    alpha: float,
    sigma: float,
    scale: float,
) -> Tensor:
    """``x_0`` moved to where ``classifier(x, time)`` gives ``labels`` a higher probability.

    Dhariwal and Nichol (2021), algorithm 2: eps - scale sigma grad log p(labels | x), here in terms of x_0, which moves by
    scale sigma^2 / alpha times the gradient. Nothing moves where no signal is left, nor do pictures of no class,
    whose label is none of the classifier's.
    """
    if not alpha:
        return x_0
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        log_probs = classifier(x, time.clone()).log_softmax(1)
        has_class, labels = labels < log_probs.shape[1], labels.clamp(max=log_probs.shape[1] - 1)
        (gradient,) = torch.autograd.grad(log_probs.gather(1, labels[:, None]).mul(has_class[:, None]).sum(), x)
    return x_0 + scale * sigma**2 / alpha * gradient
