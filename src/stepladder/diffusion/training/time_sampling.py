"""Samples the noise levels of a training: pure functions of a generator, for all examples of the global micro-batch.

In continuous time a level is u in [0, 1]; of T steps, step t is u = (t + 1) / T.
"""

from __future__ import annotations

import torch
from torch import Tensor

HISTORY = 10
UNIFORM_SHARE = 0.001


def times(name: str, size: int, mean: float, std: float, random: torch.Generator) -> Tensor:
    """``(size,)`` values of u, float64.

    - ``uniform``.
    - ``stratified``: one in each of ``size`` equal intervals: the same density, a steadier loss (Kingma et al. 2021, I.1).
    - ``logit_normal``: the logit of u is normal (Esser et al. 2024, equation 19): the middle levels more often.
    """
    if name == "logit_normal":
        return torch.sigmoid(mean + std * torch.randn(size, generator=random, dtype=torch.float64))
    u = torch.rand(size, generator=random, dtype=torch.float64)
    return (torch.arange(size) + u) / size if name == "stratified" else u


def log_sigmas(size: int, mean: float, std: float, random: torch.Generator) -> Tensor:
    """``(size,)`` values of ln(sigma / alpha), normal: Karras et al. (2022), table 1 (there mean -1.2, std 1.2)."""
    return mean + std * torch.randn(size, generator=random, dtype=torch.float64)


def steps(
    name: str, timesteps: int, size: int, mean: float, std: float, random: torch.Generator, table: Tensor
) -> Tensor:
    """``(size,)`` steps t of 0, ..., T-1: uniform, or those nearest to samples of ``times`` or ``log_sigmas``.

    Args:
        table: ``(T,)``, ln(sigma / alpha) of the steps, rising.
    """
    if name == "uniform":
        return torch.randint(timesteps, (size,), generator=random)
    if name == "log_normal":
        return torch.bucketize(log_sigmas(size, mean, std, random), (table[1:] + table[:-1]) / 2)
    u = times(name, size, mean, std, random)
    nearest = (timesteps * u).floor() if name == "stratified" else (timesteps * u).round() - 1
    return nearest.long().clamp(0, timesteps - 1)


def importance(history: Tensor, count: Tensor) -> Tensor:
    """Probability ``(T,)`` of each step, in proportion to sqrt(mean(L_t^2)): Nichol and Dhariwal (2021), section 3.3.

    Uniform until every step has ``HISTORY`` losses; afterwards one part in a thousand stays uniform, as in their code.

    Args:
        history: ``(T, HISTORY)``, the last losses of each step; count: ``(T,)``, how many each has had.
    """
    uniform = torch.full_like(history[:, 0], 1 / len(history))
    weights = history.square().mean(1).sqrt()
    total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    mixed = (1 - UNIFORM_SHARE) * weights / total + UNIFORM_SHARE * uniform
    return torch.where((count >= HISTORY).all(), mixed, uniform)


def pick(probabilities: Tensor, size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """``(size,)`` steps, sampled with ``probabilities`` ``(T,)``, and weights 1 / (T p) that make means unbiased."""
    u = torch.rand(size, generator=random, dtype=torch.float64).to(probabilities.device)
    cumulated = probabilities.double().cumsum(0)
    t = torch.searchsorted(cumulated, u * cumulated[-1], right=True).clamp(max=len(probabilities) - 1)
    return t, 1 / (len(probabilities) * probabilities[t])


def remember(history: Tensor, count: Tensor, t: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """``history`` and ``count`` of ``importance`` after the ``losses`` ``(N,)`` at steps ``t`` ``(N,)``, in that order.

    The history of a step is a ring: only which losses are the last ``HISTORY`` matters.
    """
    order = torch.argsort(t, stable=True)
    t, losses = t[order], losses[order]
    new = torch.bincount(t, minlength=len(history))
    nth = torch.arange(len(t), device=t.device) - (new.cumsum(0) - new)[t]
    last = nth >= new[t] - HISTORY
    changed = history.clone()
    changed[t[last], (count[t] + nth)[last] % HISTORY] = losses[last].to(history.dtype)
    return changed, count + new
