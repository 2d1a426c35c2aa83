"""How likely the held-out pictures are under a diffusion model, and its error at each time."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from stepladder.data.grid import scaled
from stepladder.diffusion.likelihood import bits_per_dim, loss_by_time
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.evaluation.pictures.held_out import Rows, condition, rows
from stepladder.evaluation.pictures.intervals import bootstrap_interval, resampled
from stepladder.evaluation.pictures.judging import Judge
from stepladder.metrics.pictures import Likelihood

TIMES = 32  # at which the loss is measured


def likelihood(model: nn.Module, description: DiffusionDescription, judge: Judge) -> Likelihood:
    """The bound on the negative log-likelihood of held-out pictures, and the loss by time.

    Pictures are the first of ``evaluation.likelihood_images``, the same for every model; for bits/dim as many of them as
    ``evaluation.likelihood_evaluations`` allow, at least one. All T steps are evaluated: a bound on fewer steps is that of another
    chain, and with fixed variances a far worse one.
    """
    settings, seed = judge.params.evaluation, judge.params.seed
    count = min(settings.likelihood_images, len(judge.test.labels))
    if not count:
        return {}
    numbers = rows(judge.test, count)
    affordable = max(1, settings.likelihood_evaluations // description.timesteps)
    bound_numbers = numbers[:affordable] if settings.likelihood_evaluations else numbers
    bound = bits_per_dim(model, description, *_inputs(judge, bound_numbers, description), seed=seed)
    estimates = np.array(bound["by_picture"])[resampled(np.zeros_like(bound_numbers), settings.bootstrap, seed)].mean(1)
    low, high = bootstrap_interval(bound["bits_per_dim"], estimates, settings.confidence)
    errors = loss_by_time(model, description, *_inputs(judge, numbers, description), points=TIMES, seed=seed)
    return {
        "bits_per_dim": bound["bits_per_dim"],
        "bits_per_dim_low": low,
        "bits_per_dim_high": high,
        "images": len(bound_numbers),
        "steps": bound["steps"],
        "variance": bound["variance"],
        "prior": bound["prior"],
        "terms": bound["terms"],
        "times": bound["times"],
        "by_time": {**errors, "images": count},
    }


def _inputs(judge: Judge, numbers: Rows, description: DiffusionDescription) -> tuple[Tensor, Condition]:
    return scaled(judge.test.images[numbers]), condition(judge.test, numbers, description)
