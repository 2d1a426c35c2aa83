"""Pictures from a trained diffusion model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stepladder.data.grid import grid, to_uint8
from stepladder.diffusion.networks.conditions import Condition, select_rows
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.processes.process import Process, split
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.samplers.sampler import Callback, Denoise, Denoised, Noise
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.guidance import Classifier, classifier_guided, guided
from stepladder.diffusion.sampling.loading import load
from stepladder.diffusion.sampling.thresholding import clipped, dynamic
from stepladder.errors import UserError
from stepladder.params import Sampling
from stepladder.tasks.randomness import generator

__all__ = ["class_numbers", "draw", "grid", "load", "to_uint8"]

BATCH = 512


@torch.inference_mode()
def draw(
    model: nn.Module,
    description: DiffusionDescription,
    condition: Condition,
    steps: int,
    sampling: Sampling,
    *,
    seed: int = 0,
    first: int = 0,
    batch_size: int = BATCH,
    classifier: Classifier | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """One picture for each of the N rows of ``condition``, in S = ``steps`` steps: ``(N, C, H, W)`` in [-1, 1], on the CPU.

    Picture i depends on (seed, first + i) and its row only: its noise has its own generator. Another ``batch_size``
    changes only the rounding of kernels, about 4e-6.

    Args:
        first: number of the first picture, where these are a part of more.
        classifier: ``classifier(x, time) -> logits`` for ``sampling.classifier_scale``.
        callback: called after each step of each batch with its number, x and x_0.

    Raises:
        UserError: S is not in 1, ..., T, or the model cannot draw as ``sampling`` asks.
    """
    check(description, sampling, classifier)
    process = process_of(description)
    visited = process.levels(steps, sampling.spacing)
    count = len(condition["labels"])
    if not count:
        return torch.empty(0, *description.model.shape)
    pictures = []
    for start in range(0, count, batch_size):
        part = select_rows(condition, start, start + batch_size)
        noise = noise_of(
            seed, first + start, len(part["labels"]), description.model.shape, next(model.parameters()).device
        )
        x = _run(model, description, process, part, visited, sampling, noise, classifier, callback)
        pictures.append(x.clamp(-1, 1).float().cpu())
    return torch.cat(pictures)


def denoiser(
    model: nn.Module,
    description: DiffusionDescription,
    condition: Condition,
    visited: Levels,
    sampling: Sampling,
    classifier: Classifier | None = None,
) -> Denoise:
    """The prediction of ``model`` at the i-th of the ``visited`` levels, guided and clipped as in ``sampling``."""
    process = process_of(description)
    channels, classes = description.model.shape[0], len(description.classes)
    alphas, sigmas, times = (table.tolist() for table in (visited.alphas, visited.sigmas, visited.times))
    device = next(model.parameters()).device
    condition = {key: value.to(device) for key, value in condition.items()}
    low, high = sampling.guidance_interval

    def denoise(x: Tensor, i: int) -> Denoised:
        alpha, sigma = alphas[i], sigmas[i]
        time = torch.full((len(x),), times[i], device=device)
        scale = sampling.guidance_scale if low <= times[i] <= high else 1.0
        output = guided(
            model, process.scale_input(x, sigma), time, condition, classes, scale, rescale=sampling.guidance_rescale
        )
        output, fraction = split(output, channels)
        x_0 = process.to_x0(output, x, alpha, sigma)
        if classifier is not None and sampling.classifier_scale:
            labels = condition["labels"]
            x_0 = classifier_guided(classifier, x_0, x, time, labels, alpha, sigma, sampling.classifier_scale)
        if sampling.dynamic_threshold:
            x_0 = dynamic(x_0, sampling.dynamic_threshold)
        elif sampling.clip:
            x_0 = clipped(x_0)
        return Denoised(x_0, fraction)

    return denoise


def _run(
    model: nn.Module,
    description: DiffusionDescription,
    process: Process,
    condition: Condition,
    visited: Levels,
    sampling: Sampling,
    noise: Noise,
    classifier: Classifier | None,
    callback: Callback | None,
) -> Tensor:
    sampler = SAMPLERS[sampling.sampler]
    options = sampler.options(sampling, process, visited)
    churned = options.get("churned")
    all_levels = visited.joined(churned) if isinstance(churned, Levels) else visited
    denoise = denoiser(model, description, condition, all_levels, sampling, classifier)
    x = process.first_noise(noise(), float(visited.sigmas[0]))
    return sampler.sample(denoise, x, visited, noise, callback=callback, **options)


def noise_of(seed: int, first: int, count: int, shape: Sequence[int], device: torch.device) -> Noise:
    """Fresh noise for pictures ``first`` and after, each by its own generator."""
    generators = [generator(seed, first + i) for i in range(count)]

    def noise() -> Tensor:
        values = torch.empty(count, *shape)
        for row, random in zip(values, generators, strict=True):
            torch.randn(tuple(shape), generator=random, out=row)
        return values.to(device)

    return noise


def check(description: DiffusionDescription, sampling: Sampling, classifier: Classifier | None) -> None:
    """Raise ``UserError`` where the model cannot draw as ``sampling`` asks."""
    is_conditional = len(description.classes) or description.model.vocabulary
    scale = sampling.guidance_scale
    if scale != 1 and not (is_conditional and description.label_dropout > 0):
        raise UserError(
            f"guidance_scale={scale:g} needs a model trained with classes or texts, some of them hidden; this one was not: "
            "use 1."
        )
    if sampling.variance == "learned" and description.variance != "learned_range":
        raise UserError(
            "variance=learned needs a model that learned it; this one did not: use fixed_small or fixed_large."
        )
    if sampling.classifier_scale and classifier is None:
        raise UserError(
            f"classifier_scale={sampling.classifier_scale:g} needs a noisy classifier; train one with "
            "`stepladder train noisy-classifier`, or use 0."
        )


def class_numbers(classes: Sequence[str], names: Sequence[str] | None, count: int) -> Tensor:
    """Labels of ``count`` pictures of each of ``names`` in ``classes``; without names ``count`` in all, in turn.

    Raises:
        UserError: the model does not know a name.
    """
    if not names:
        return torch.arange(count) % max(len(classes), 1)
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UserError(
            f"The model does not know the class {', '.join(unknown)}; it knows: {', '.join(classes) or 'none'}."
        )
    return torch.tensor([classes.index(name) for name in names for _ in range(count)])
