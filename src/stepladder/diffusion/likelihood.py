"""How well a trained model explains pictures: the variational bound in bits/dim, term by term; and the error by time.

Nichol and Dhariwal (2021), section 3 and table 2. On fewer than T steps the terms are those of the respaced chain with its own
betas: leaving terms of the full chain out would not be a bound. A chain of any process is a variance preserving one up
to a factor, ``x / sqrt(alpha^2 + sigma^2)``, so that models of continuous time have it too, at any number of levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stepladder.diffusion.losses import learned_range, normal_kl, squared_error, vlb_term
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.processes.process import Process, q_sample, split
from stepladder.diffusion.processes.processes import process_of
from stepladder.errors import UserError
from stepladder.tasks.randomness import generator

if TYPE_CHECKING:
    from stepladder.metrics.pictures import ByTime

Array = npt.NDArray[np.float64]
VARIANCES = ("fixed_small", "fixed_large", "learned")
STREAM = 2**41  # training uses no streams from here on


class Bound(TypedDict):
    """The bound on the negative log-likelihood of pictures."""

    bits_per_dim: float  # the mean over pictures of L_0 + ... + L_{S-1} + L_T
    terms: list[float]  # the first S of these, cleanest first
    prior: float  # L_T
    times: list[float]  # of the terms, in (0, 1]
    by_picture: list[float]
    steps: int
    pictures: int
    variance: str  # one of ``VARIANCES``


@torch.inference_mode()
def bits_per_dim(
    model: nn.Module,
    description: DiffusionDescription,
    pictures: Tensor,
    condition: Condition,
    steps: int | None = None,
    *,
    variance: str | None = None,
    spacing: str = "linspace",
    clip: bool = True,
    seed: int = 0,
    batch_size: int = 512,
) -> Bound:
    """The bound on the negative log-likelihood of ``pictures`` ``(N, C, H, W)``, of 256 levels in [-1, 1], in bits/dim.

    Args:
        condition: N rows.
        steps: S; None: T.
        variance: of the reverse steps: fixed_small, fixed_large or learned; None: learned where the model learned it, else
            fixed_small.
        clip: clip the predicted x_0 to [-1, 1], as published.
        batch_size: network evaluations at once, over pictures and steps alike.

    Raises:
        UserError: ``variance`` is learned and the model did not learn it, or S is not in 1, ..., T.
    """
    variance = _checked_variance(variance, learned=description.variance == "learned_range")
    process = process_of(description)
    levels = process.levels_of_bound(steps, spacing)
    chain = process.posteriors_of_bound(levels)
    tables = (chain.x_0_coef, chain.log_smallest, chain.log_largest)
    terms = torch.zeros(len(levels.times), len(pictures), dtype=torch.float64)
    for batch in _forward_passes(model, process, levels, pictures, condition, seed, batch_size):
        x_0_coef, small, large = (_column(table[batch.level_numbers], batch.x) for table in tables)
        first = torch.tensor(batch.level_numbers == 0, device=batch.x.device)
        log_variance = _log_variance(variance, batch.fraction, first, small, large)
        x_0_hat = process.to_x0(batch.predicted, batch.x, batch.alpha, batch.sigma)
        x_0_hat = x_0_hat.clamp(-1, 1) if clip else x_0_hat
        values = vlb_term(batch.x_0, x_0_hat, first, x_0_coef, small, log_variance)
        terms[batch.level_numbers, batch.picture_numbers] = values.double().cpu()
    prior = _prior(pictures, float(levels.chain().alphas_cumprod[-1]))
    by_picture = terms.sum(0) + prior
    return {
        "bits_per_dim": by_picture.mean().item(),
        "terms": terms.mean(1).tolist(),
        "prior": prior.mean().item(),
        "times": levels.times.tolist(),
        "by_picture": by_picture.tolist(),
        "steps": len(levels.times),
        "pictures": len(pictures),
        "variance": variance,
    }


def _checked_variance(variance: str | None, *, learned: bool) -> str:
    """``variance``, or the default where it is None; ``UserError`` where the model does not support it."""
    variance = variance or ("learned" if learned else "fixed_small")
    if variance not in VARIANCES or (variance == "learned" and not learned):
        supported = VARIANCES if learned else VARIANCES[:2]
        raise UserError(f"variance={variance} of a model that knows {', '.join(supported)}; choose one of these.")
    return variance


def _log_variance(variance: str, fraction: Tensor | None, first: Tensor, small: Tensor, large: Tensor) -> Tensor:
    """Log-variance of reverse steps, from ``small`` to ``large``; ``first`` ``(m,)``: whether steps end at the data."""
    if variance == "learned":
        assert fraction is not None
        return learned_range(fraction, small, large)
    # beta of the first step would blur the decoder: there fixed_large too takes the posterior's variance of the second
    return small if variance == "fixed_small" else torch.where(first[:, None, None, None], small, large)


@torch.inference_mode()
def loss_by_time(
    model: nn.Module,
    description: DiffusionDescription,
    pictures: Tensor,
    condition: Condition,
    points: int = 50,
    *,
    seed: int = 0,
    batch_size: int = 512,
) -> ByTime:
    """Mean squared error at up to ``points`` times, cleanest first: of the target and of the implied x_0."""
    process = process_of(description)
    levels = process.levels_of_bound(min(points, process.timesteps) if process.has_steps else points)
    sums = torch.zeros(len(levels.times), 3, dtype=torch.float64)
    for batch in _forward_passes(model, process, levels, pictures, condition, seed, batch_size):
        target = process.target(batch.x_0, batch.eps, batch.alpha, batch.sigma)
        implied = process.to_x0(batch.predicted, batch.x, batch.alpha, batch.sigma)
        errors = squared_error(batch.predicted, target), squared_error(implied, batch.x_0)
        fraction = torch.zeros_like(batch.x) if batch.fraction is None else batch.fraction
        values = torch.stack([*errors, fraction.flatten(1).mean(1)], dim=1)
        sums.index_add_(0, torch.from_numpy(batch.level_numbers), values.double().cpu())
    error, error_of_x_0, fractions = (sums / len(pictures)).T.tolist()
    return {
        "times": levels.times.tolist(),
        "error": error,
        "error_of_x_0": error_of_x_0,
        "fraction": fractions if description.variance == "learned_range" else None,
    }


@dataclass(frozen=True)
class _ForwardPass:
    """One forward of the network: m pairs of a picture and a level, by their numbers."""

    picture_numbers: npt.NDArray[np.int64]
    level_numbers: npt.NDArray[np.int64]
    x_0: Tensor
    eps: Tensor
    x: Tensor
    alpha: Tensor
    sigma: Tensor
    predicted: Tensor
    fraction: Tensor | None


def _forward_passes(
    model: nn.Module,
    process: Process,
    levels: Levels,
    pictures: Tensor,
    condition: Condition,
    seed: int,
    batch_size: int,
) -> Iterator[_ForwardPass]:
    """Every picture at every level, ``batch_size`` pairs at once; the noise depends on the seed and the level only."""
    device = next(model.parameters()).device
    pictures = pictures.to(device)
    condition = {key: value.to(device) for key, value in condition.items()}
    count = len(pictures)
    levels_at_once = max(1, batch_size // max(count, 1))
    for start in range(0, len(levels.times), levels_at_once):
        group = np.arange(start, min(start + levels_at_once, len(levels.times)))
        noise = torch.stack(
            [
                torch.randn(pictures.shape, generator=generator(seed, STREAM + int(i), device=device), device=device)
                for i in group
            ]
        )
        for first in range(0, count, batch_size):
            chunk = np.arange(first, min(first + batch_size, count))
            level_numbers, picture_numbers = np.repeat(group, len(chunk)), np.tile(chunk, len(group))
            x_0, eps = pictures[picture_numbers], noise[:, chunk].flatten(0, 1)
            alpha, sigma = _column(levels.alphas[level_numbers], x_0), _column(levels.sigmas[level_numbers], x_0)
            x = q_sample(x_0, eps, alpha, sigma)
            time = torch.tensor(levels.times[level_numbers], dtype=torch.float32, device=device)
            batch_condition = {key: value[picture_numbers] for key, value in condition.items()}
            output = model(process.scale_input(x, sigma), time, batch_condition).float()
            yield _ForwardPass(picture_numbers, level_numbers, x_0, eps, x, alpha, sigma, *split(output, x.shape[1]))


def _prior(x_0: Tensor, signal: float) -> Tensor:
    """L_T, how far the last step is from pure noise, in bits/dim: ``(N,)``."""
    log_variance = torch.tensor(math.log1p(-signal), dtype=torch.float64)
    nats = normal_kl(signal**0.5 * x_0.double().cpu(), log_variance, torch.zeros_like(log_variance))
    return nats.flatten(1).mean(1) / math.log(2)


def _column(values: Array, like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device)[:, None, None, None]
