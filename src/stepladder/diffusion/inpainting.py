"""Inpainting with any trained model: RePaint with its denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.repaint import repaint
from stepladder.diffusion.sampling.drawing import check, denoiser, noise_of
from stepladder.diffusion.sampling.guidance import Classifier
from stepladder.errors import UserError
from stepladder.params import Sampling

JUMP, RESAMPLES = 10, 10  # as published


@torch.inference_mode()
def inpaint(
    model: nn.Module,
    description: DiffusionDescription,
    condition: Condition,
    known: Tensor,
    mask: Tensor,
    steps: int,
    sampling: Sampling,
    *,
    seed: int = 0,
    jump: int = JUMP,
    resamples: int = RESAMPLES,
    classifier: Classifier | None = None,
) -> Tensor:
    """The picture ``known`` ``(C, H, W)`` in [-1, 1], redrawn where ``mask`` ``(H, W)`` is false, as often as ``condition`` has rows.

    Picture i depends on (seed, i) and its row only. Steps are ancestral ones with the posterior's variance: from
    ``sampling`` only spacing, guidance and clipping are used.

    Returns:
        ``(N, C, H, W)`` in [-1, 1], on the CPU; where ``mask`` is true exactly ``known``.

    Raises:
        UserError: S is not in 1, ..., T, ``jump`` or ``resamples`` is 0, or the model cannot draw as ``sampling`` asks.
    """
    if jump < 1 or resamples < 1:
        raise UserError(f"A jump of {jump} levels and {resamples} resamples given; both must be at least 1.")
    check(description, sampling, classifier)
    visited, device = process_of(description).levels(steps, sampling.spacing), next(model.parameters()).device
    count = len(condition["labels"])
    noise = noise_of(seed, 0, count, description.model.shape, device)
    start = float(visited.sigmas[0]) * noise()
    repeated = known.to(device).expand(count, *known.shape)
    denoise = denoiser(model, description, condition, visited, sampling, classifier)
    x = repaint(denoise, start, repeated, mask.to(device), visited, noise, jump=jump, resamples=resamples)
    return x.clamp(-1, 1).float().cpu()
