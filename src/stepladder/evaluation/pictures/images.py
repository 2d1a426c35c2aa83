"""How good a diffusion model's pictures are, at every number of sampling steps S; the protocol is ``judging``'s.

Every S and every sampling starts from the same noise and gets the same conditions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stepladder import history
from stepladder.data.grid import grid, scaled
from stepladder.diffusion.classifier import load as load_classifier
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.sampling.drawing import load
from stepladder.errors import UserError
from stepladder.evaluation.pictures import drawers
from stepladder.evaluation.pictures.drawers import Drawer
from stepladder.evaluation.pictures.held_out import STRIP_COLUMNS, STRIP_ROWS, condition, rows
from stepladder.evaluation.pictures.judging import Judge
from stepladder.evaluation.pictures.likelihood import likelihood
from stepladder.evaluation.pictures.retrieval import retrieval
from stepladder.evaluation.pictures.super_resolution import fidelity
from stepladder.judgement import identity
from stepladder.metrics.pictures import PictureMetrics, Point
from stepladder.params import Params, Sampling

SAMPLING_KEYS = ("sampler", "spacing", "variance", "guidance_scale", "classifier_scale")


def evaluate(
    params: Params,
    timesteps: int,
    data: Path,
    feature_net: Path,
    model_folder: Path,
    out: Path,
    samplings: Sequence[Sampling] = (),
    classifier: Path | None = None,
    devices: int = 1,
) -> PictureMetrics:
    """Judge the model of T = ``timesteps`` in ``model_folder`` at every S <= T of the sweep.

    Writes into ``out``: ``metrics.json``, ``points.json`` and a strip of pictures ``samples-S{S}.png`` for each S.

    Args:
        samplings: settings to sample with, each at every S; none: ``params.sampling``. From the second on the strips are
            ``samples-{i}-S{S}.png``, i = 1, 2, ...
        classifier: folder of the noisy classifier, used where a sampling's ``classifier_scale`` is above 0.
        devices: number of devices, each samples a share of the pictures; the figures do not depend on it.

    Raises:
        UserError: the model is of another T, cannot be loaded, or generates pictures that are not numbers; or there is no noisy
            classifier to guide it.
    """
    model, description = load(model_folder)
    if description.timesteps != timesteps:
        raise UserError(f"{model_folder} holds a model of T={description.timesteps}, not of T={timesteps}.")
    model.to(device := "cuda" if torch.cuda.is_available() else "cpu")
    samplings = tuple(samplings) or (params.sampling,)
    guide_folder = classifier if any(sampling.classifier_scale for sampling in samplings) else None
    guide = load_classifier(guide_folder, description)[0].to(device) if guide_folder is not None else None
    judge, steps = Judge(params, data, feature_net), params.sweep.sampling_steps
    empty_folder(out)
    results = []
    with ExitStack() as stack:
        drawer = None
        if devices > 1:
            drawer = stack.enter_context(drawers.parallel_sampler(devices, model_folder, params.seed, guide_folder))
        for number, sampling in enumerate(samplings):
            suffix = f"-{number}" if number else ""
            for point, pictures in points(model, description, judge, sampling, steps, guide, drawer):
                strip(pictures).save(out / f"samples{suffix}-S{point['sampling_steps']}.png")
                name = f"T={timesteps} S={point['sampling_steps']}{suffix and f' {sampling.sampler}'}"
                print(summary_line(judge, name, point), flush=True)
                results.append(point)
    metrics: PictureMetrics = {
        "timesteps": timesteps,
        "judged": identity.judged(params, model_folder, data, identity.judges(params, feature_net)),
        "floor": judge.floor,
        "held_out": judge.held_out,
        "features": judge.protocol["features"],
        "protocol": judge.protocol,
        "best": min(results, key=lambda point: point["frechet"]),
        "points": results,
        "likelihood": likelihood(model, description, judge),
    }
    history.write(out / "metrics.json", metrics)
    history.write(out / "points.json", results)
    return metrics


def points(
    model: nn.Module,
    description: DiffusionDescription,
    judge: Judge,
    sampling: Sampling,
    sampling_steps: Sequence[int],
    classifier: nn.Module | None = None,
    drawer: Drawer | None = None,
) -> Iterator[tuple[Point, Tensor]]:
    """A point, and its pictures ``(N, C, H, W)``, for each S <= T of ``sampling_steps``.

    Args:
        drawer: samples the pictures; None: ``model``, guided by ``classifier``, on the device where they are.

    Raises:
        UserError: the model cannot be sampled so, or generates pictures that are not numbers.
    """
    numbers = rows(judge.test, judge.params.evaluation.samples)
    classes = (
        judge.test.card["classes"] if classifier is not None and sampling.classifier_scale else description.classes
    )
    conditions = condition(judge.test, numbers, description.model_copy(update={"classes": tuple(classes)}))
    drawer = drawer or drawers.local_sampler(model, description, judge.params.seed, classifier)
    for steps in (s for s in sampling_steps if s <= description.timesteps):
        pictures, cost = drawer(conditions, steps, sampling)
        if not pictures.isfinite().all():
            raise UserError(
                f"The model draws pictures that are not numbers at S={steps}: its training diverged; "
                "lower diffusion.training.learning_rate, or set diffusion.training.gradient_clip to 1."
            )
        position = {"timesteps": description.timesteps, "sampling_steps": steps}
        settings = {name: getattr(sampling, name) for name in SAMPLING_KEYS}
        metrics = judge.point(pictures, conditions["labels"] if classes else None)
        if "text" in conditions:
            metrics |= retrieval(pictures, scaled(judge.test.images[numbers]), conditions["labels"].numpy())
        if "low_resolution" in conditions:
            metrics |= fidelity(pictures, scaled(judge.test.images[numbers]), conditions["low_resolution"])
        yield cast(Point, position | settings | metrics | cost), pictures


def summary_line(judge: Judge, name: str, point: Mapping[str, object]) -> str:
    """A point as one printed line."""
    accuracy = f", accuracy {point['accuracy']:.3f}" if "accuracy" in point else ""
    return f"{name}: Frechet {point['frechet']:.4g} (floor {judge.floor['frechet']:.4g}){accuracy}"


def strip(pictures: Tensor) -> Any:
    """The first pictures as one image."""
    return grid(pictures[: STRIP_ROWS * STRIP_COLUMNS], columns=STRIP_COLUMNS)


def empty_folder(out: Path) -> None:
    """Make ``out`` an empty folder."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
