"""Samples the noise levels of a training's pictures, with the tables and the history that it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from stepladder.diffusion.losses import learned_range, vlb_term
from stepladder.diffusion.processes.posterior import posteriors
from stepladder.diffusion.processes.process import ContinuousTime, Process
from stepladder.diffusion.processes.processes import Discrete
from stepladder.diffusion.training import time_sampling
from stepladder.params import Diffusion


@dataclass(frozen=True)
class BatchLevels:
    """The noise levels of this rank's n pictures.

    Attributes:
        t: ``(n,)`` steps; empty where time is continuous.
        time: ``(n,)`` in [0, 1]: the network's input.
        alpha, sigma: ``(n, 1, 1, 1)``.
        snr: ``(n,)``, alpha^2 / sigma^2.
        importance: ``(n,)``, weights that make means unbiased where steps are not equally likely; else 1.
    """

    t: Tensor
    time: Tensor
    alpha: Tensor
    sigma: Tensor
    snr: Tensor
    importance: Tensor


class TimeLevels(nn.Module):
    """Samples levels in continuous time for the global micro-batch, on the CPU in float64; a rank takes its part."""

    def __init__(self, process: ContinuousTime, diffusion: Diffusion, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        self.process, self.sampling = process, diffusion.time_sampling
        self.mean, self.std = diffusion.time_mean, diffusion.time_std
        self.rank_slice = slice(rank, None, world_size)

    def draw(self, size: int, random: torch.Generator, device: torch.device, *, uniform: bool = False) -> BatchLevels:
        """Levels for ``size`` pictures over all ranks, as the parameters say, or uniform in time."""
        name = "uniform" if uniform else self.sampling
        if name == "log_normal":
            log_sigma = time_sampling.log_sigmas(size, self.mean, self.std, random)
            u = self.process.time_at(log_sigma.numpy())
        else:
            u = time_sampling.times(name, size, self.mean, self.std, random).numpy()
        u = u[self.rank_slice]
        alpha, sigma = self.process.level_at(u)
        table = torch.from_numpy(np.stack([u, alpha, sigma, (alpha / sigma) ** 2])).float().to(device)
        time, alphas, sigmas, snr = table
        no_steps = torch.empty(0, dtype=torch.int64, device=device)
        return BatchLevels(no_steps, time, _column(alphas), _column(sigmas), snr, torch.ones_like(time))

    def remember(self, levels: BatchLevels, losses: Tensor) -> None:
        """There is no history."""


class StepLevels(nn.Module):
    """Samples steps of a discrete process for the global micro-batch on the CPU; a rank takes its part.

    The history of ``loss_second_moment`` is part of the state, the same on all ranks: resuming goes on with it.
    """

    tables: Tensor
    posterior: Tensor
    history: Tensor
    count: Tensor

    def __init__(self, process: Discrete, diffusion: Diffusion, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        self.timesteps, self.sampling = process.timesteps, diffusion.time_sampling
        self.mean, self.std = diffusion.time_mean, diffusion.time_std
        self.rank_slice = slice(rank, None, world_size)
        self.learns_from_losses = self.sampling == "loss_second_moment"
        signal = torch.tensor(process.schedule.alphas_cumprod)
        rounded = signal.float()
        snr = (signal / (1 - signal)).float()
        tables = torch.stack([rounded.sqrt(), (1 - rounded).sqrt(), snr])
        chain = posteriors(process.schedule)
        posterior = torch.from_numpy(np.stack([chain.x_0_coef, chain.log_smallest, chain.log_largest])).float()
        self.register_buffer("tables", tables, persistent=False)
        self.register_buffer("posterior", posterior, persistent=False)
        self.log_sigmas = 0.5 * torch.log((1 - signal) / signal)
        if self.learns_from_losses:
            self.register_buffer("history", torch.zeros(self.timesteps, time_sampling.HISTORY))
            self.register_buffer("count", torch.zeros(self.timesteps, dtype=torch.int64))

    def draw(self, size: int, random: torch.Generator, device: torch.device, *, uniform: bool = False) -> BatchLevels:
        """Levels for ``size`` pictures over all ranks, as the parameters say, or of uniform steps."""
        name = "uniform" if uniform else self.sampling
        if name == "loss_second_moment":
            t, weight = time_sampling.pick(time_sampling.importance(self.history, self.count), size, random)
        else:
            steps = time_sampling.steps(name, self.timesteps, size, self.mean, self.std, random, self.log_sigmas)
            t, weight = steps.to(device), torch.ones(size, device=device)
        t, weight = t[self.rank_slice], weight[self.rank_slice]
        alpha, sigma, snr = self.tables[:, t]
        return BatchLevels(t, (t + 1) / self.timesteps, _column(alpha), _column(sigma), snr, weight)

    def bound(self, levels: BatchLevels, x_0: Tensor, x_0_hat: Tensor, fraction: Tensor | None) -> Tensor:
        """T times the bound's term of each picture, ``(n,)`` bits/dim: over uniform steps its mean is the bound less L_T.

        The reverse variance is that of the posterior, or learned, then ``fraction`` ``(n, C, H, W)`` of the way to beta.
        """
        x_0_coef, smallest, largest = (_column(row) for row in self.posterior[:, levels.t])
        variance = smallest if fraction is None else learned_range(fraction, smallest, largest)
        return self.timesteps * vlb_term(x_0, x_0_hat, levels.t == 0, x_0_coef, smallest, variance)

    @torch.no_grad()
    def remember(self, levels: BatchLevels, losses: Tensor) -> None:
        """Add the ``losses`` ``(n,)`` of all ranks to the history, where there is one."""
        if self.learns_from_losses:
            t, all_losses = _gather_from_ranks(levels.t), _gather_from_ranks(losses.detach())
            history, count = time_sampling.remember(self.history, self.count, t, all_losses)
            self.history.copy_(history)
            self.count.copy_(count)


def training_levels(
    process: Process, diffusion: Diffusion, rank: int = 0, world_size: int = 1
) -> StepLevels | TimeLevels:
    """What samples the noise levels in a training of ``process``."""
    if isinstance(process, ContinuousTime):
        return TimeLevels(process, diffusion, rank, world_size)
    assert isinstance(process, Discrete)
    return StepLevels(process, diffusion, rank, world_size)


def _gather_from_ranks(values: Tensor) -> Tensor:
    """The values of all ranks in the order of the micro-batch, of which rank r has rows r, r + world size, ..."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return values
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.stack(parts, dim=1).flatten()


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
