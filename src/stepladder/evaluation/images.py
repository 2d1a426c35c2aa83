"""How good a diffusion model's pictures are, at every number of sampling steps S.

Protocol. At each S ``evaluation.samples`` pictures are drawn, of the classes of the held-out pictures in turn, so that the
proportions of the classes are the same. Frechet distance and KID are measured in features from the drawn to all
held-out pictures. The floor is the same figure of as many real training pictures (all, where there are fewer): what a
perfect model would get. Intervals say how far a figure varies over samples of as many drawn pictures of each class. Accuracy is the share of pictures that the feature network takes for
the class that was asked for. All S start from the same noise.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepladder.data.images import ImageArrays
from stepladder.diffusion.drawing import draw, grid, load
from stepladder.errors import UserError
from stepladder.evaluation.features import judge
from stepladder.evaluation.frechet import frechet_distance
from stepladder.evaluation.intervals import bootstrap_interval, proportion, resample
from stepladder.evaluation.kernel_distance import from_kernels, from_resampled_kernels, kernel, kernel_distance, within
from stepladder.params import Evaluation, Params

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
STRIP_ROWS, STRIP_COLUMNS = 4, 10


def evaluate(
    params: Params, timesteps: int, data: Path, feature_net: Path, model_folder: Path, out: Path
) -> dict[str, Any]:
    """Judge the model of T = ``timesteps`` in ``model_folder`` at every S <= T of the sweep.

    Writes into ``out``: ``metrics.json``, ``points.json`` and a strip of pictures ``samples-S{S}.png`` for each S.

    Raises:
        UserError: the model is of another T, cannot be loaded, or draws pictures that are not numbers.
    """
    settings = params.evaluation
    model, config = load(model_folder)
    if config["timesteps"] != timesteps:
        raise UserError(f"{model_folder} holds a model of T={config['timesteps']}, not of T={timesteps}.")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    see = judge(feature_net, settings.inception_weights)
    train, test = ImageArrays.open(data, "train"), ImageArrays.open(data, "test")
    real, verdicts = see(_scaled(test.images))
    count = settings.samples
    numbers = np.sort(np.random.default_rng(params.seed).permutation(len(train.labels))[:count])
    others, _ = see(_scaled(train.images[numbers]))
    floor = {
        "frechet": frechet_distance(others, real),
        "kid": kernel_distance(others, real, train.labels[numbers], test.labels),
        "images": len(others),
    }

    labels = _labels(test, bool(config["classes"]), count)
    _fresh(out)
    points = []
    for steps in (s for s in params.sweep.sampling_steps if s <= timesteps):
        start = time.perf_counter()
        pictures = draw(model, config, {"labels": labels}, steps, params.sampling, seed=params.seed)
        seconds = time.perf_counter() - start
        if not pictures.isfinite().all():
            raise UserError(
                f"The model in {model_folder} draws pictures that are not numbers at S={steps}: its training diverged; "
                "lower diffusion.training.learning_rate, or set diffusion.training.gradient_clip to 1."
            )
        features, seen = see(pictures)
        point = {"timesteps": timesteps, "sampling_steps": steps} | _distances(
            features, real, labels.numpy(), test.labels, settings, params.seed
        )
        if config["classes"]:
            point |= _accuracy(seen, labels.numpy(), settings)
        points.append(point | {"milliseconds_per_image": 1000 * seconds / count, "images": count})
        _strip(pictures, labels, config).save(out / f"samples-S{steps}.png")
        shown = f", accuracy {point['accuracy']:.3f}" if "accuracy" in point else ""
        print(
            f"T={timesteps} S={steps}: Frechet {point['frechet']:.4g} (floor {floor['frechet']:.4g}){shown}", flush=True
        )
    metrics = {
        "timesteps": timesteps,
        "floor": floor,
        "held_out": {"images": len(real), "accuracy": _share(verdicts, test)},
        "features": settings.inception_weights or "this data's feature network",
        "best": min(points, key=lambda point: point["frechet"]),
        "points": points,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (out / "points.json").write_text(json.dumps(points, indent=2) + "\n")
    return metrics


def _distances(
    features: Array, real: Array, labels: Labels, real_labels: Labels, settings: Evaluation, seed: int
) -> dict[str, float]:
    frechet = frechet_distance(features, real)
    resampled = resample(lambda rows: frechet_distance(features[rows], real), labels, settings.bootstrap, seed)
    frechet_low, frechet_high = bootstrap_interval(frechet, resampled, settings.confidence)
    own, held_out = within(kernel(features, features), labels), within(kernel(real, real), real_labels)
    between = kernel(features, real)
    kid = from_kernels(own, held_out, between)
    resampled = resample(
        lambda rows: from_resampled_kernels(own, held_out, between, rows), labels, settings.bootstrap, seed
    )
    kid_low, kid_high = bootstrap_interval(kid, resampled, settings.confidence)
    return {
        "frechet": frechet, "frechet_low": frechet_low, "frechet_high": frechet_high,
        "kid": kid, "kid_low": kid_low, "kid_high": kid_high,
    }  # fmt: skip


def _accuracy(seen: Labels, wanted: Labels, settings: Evaluation) -> dict[str, float]:
    right = int((seen == wanted).sum())
    low, high = proportion(right, len(seen), settings.confidence)
    return {"accuracy": right / len(seen), "accuracy_low": low, "accuracy_high": high}


def _labels(test: ImageArrays, classes: bool, count: int) -> Tensor:
    """The held-out pictures' classes in turn, the strip's first: one class a column."""
    if not classes:
        return torch.zeros(count, dtype=torch.long)
    strip = np.arange(STRIP_ROWS * STRIP_COLUMNS) % STRIP_COLUMNS % len(test.card["classes"])
    wanted = np.bincount(np.resize(test.labels, count), minlength=len(test.card["classes"]))
    left = np.maximum(wanted - np.bincount(strip, minlength=len(wanted)), 0)
    labels = np.concatenate([strip, np.repeat(np.arange(len(wanted)), left)])
    return torch.from_numpy(labels[:count].astype(np.int64))


def _strip(pictures: Tensor, labels: Tensor, config: dict[str, Any]) -> Any:
    return grid(pictures[: STRIP_ROWS * STRIP_COLUMNS], columns=STRIP_COLUMNS)


def _share(verdicts: Labels, test: ImageArrays) -> float | None:
    return float((verdicts == test.labels).mean()) if test.card["classes"] else None


def _scaled(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(images)).float() / 127.5 - 1


def _fresh(out: Path) -> None:
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
