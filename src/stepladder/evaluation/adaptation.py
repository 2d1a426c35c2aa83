"""How well a model was adapted to custom pictures, and how much it forgot of its old ones.

Generated pictures of the new classes are judged against the held-out custom pictures, by the protocol of ``Judge``. ``recognised`` is
the share of them whose nearest real picture is a new one, among equally many old and new ones; the feature network was trained on the
old ones only. Pictures of the old classes are judged as for any model. All start from the same noise and take S steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepladder import history
from stepladder.data.grid import grid, scaled, to_uint8
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion.adaptation import picture_classes
from stepladder.diffusion.networks.conditions import unconditional
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.sampling.drawing import draw, load
from stepladder.errors import UserError
from stepladder.evaluation.pictures.features import judge as features_of
from stepladder.evaluation.pictures.held_out import condition, rows
from stepladder.evaluation.pictures.images import empty_folder, strip
from stepladder.evaluation.pictures.intervals import proportion
from stepladder.evaluation.pictures.judging import Judge
from stepladder.evaluation.pictures.neighbours import distances
from stepladder.judgement import identity
from stepladder.metrics.pictures import Protocol
from stepladder.params import Params

Array = npt.NDArray[np.float64]


class AdaptedMetrics(TypedDict):
    """The results, ``metrics.json``: of the ``new`` pictures also ``recognised``; ``floor``: the figures of real pictures."""

    adapted: dict[str, object] | None
    judged: dict[str, str | None]
    sampling_steps: int
    sampling: dict[str, object]
    floor: dict[str, dict[str, float]]
    held_out: dict[str, dict[str, float | None]]
    protocol: dict[str, Protocol]
    point: dict[str, float]  # of the new ones
    new: dict[str, float]
    old: dict[str, float]


def evaluate(params: Params, data: Path, new: Path, feature_net: Path, model_folder: Path, out: Path) -> AdaptedMetrics:
    """Judge the model in ``model_folder``, adapted or not yet; write ``metrics.json`` and strips of pictures into ``out``.

    A model that does not know the new classes generates pictures without a class.

    Args:
        data: prepared pictures that it was first trained on; new: those that it is adapted to; feature_net: of ``data``.

    Raises:
        UserError: something is missing, or the model generates pictures that are not numbers.
    """
    model, description = load(model_folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    judges = {"new": Judge(params, new, feature_net), "old": Judge(params, data, feature_net)}
    steps = min(params.adaptation.sampling_steps, description.timesteps)
    extract = features_of(feature_net, params.evaluation.inception_weights)
    pools = {name: judge.test for name, judge in judges.items()}
    samples = {name: _sample(params, model, description, judge.test, steps) for name, judge in judges.items()}
    results: dict[str, dict[str, float]] = {}
    for name, (pictures, labels) in samples.items():
        if not pictures.isfinite().all():
            raise UserError(
                f"The model in {model_folder} draws pictures that are not numbers: its training diverged; lower "
                "adaptation.training.learning_rate, or adaptation.full_learning_rate."
            )
        results[name] = judges[name].point(pictures, labels if name == "old" else None)
    share, low, high = _recognised(extract, samples["new"][0], pools, params)
    results["new"] |= {"recognised": share, "recognised_low": low, "recognised_high": high}
    real, *_ = _recognised(extract, scaled(judges["new"].train.images), pools, params)
    empty_folder(out)
    for name, (pictures, _) in samples.items():
        (grid(pictures[:40], columns=10) if name == "new" else strip(pictures)).save(out / f"{name}.png")
    metrics: AdaptedMetrics = {
        "adapted": description.adapted.model_dump(mode="json", exclude_unset=True) if description.adapted else None,
        "judged": identity.judged(params, model_folder, new, identity.judges(params, feature_net)),
        "sampling_steps": steps,
        "sampling": params.sampling.model_dump(mode="json"),
        "floor": {"new": judges["new"].floor | {"recognised": real}, "old": judges["old"].floor},
        "held_out": {"new": {"images": judges["new"].held_out["images"]}, "old": judges["old"].held_out},
        "protocol": {name: judge.protocol for name, judge in judges.items()},
        "point": results["new"],
        "new": results["new"],
        "old": results["old"],
    }
    history.write(out / "metrics.json", metrics)
    print(f"{out.name}: new pictures: Frechet {results['new']['frechet']:.4g}, recognised {share:.3f}; old ones: Frechet "
          f"{results['old']['frechet']:.4g}, accuracy {results['old'].get('accuracy', float('nan')):.3f}")  # fmt: skip
    return metrics


def _sample(
    params: Params, model: torch.nn.Module, description: DiffusionDescription, test: ImageArrays, steps: int
) -> tuple[Tensor, Tensor | None]:
    """Pictures for the conditions of the held-out ones in ``test``, and their classes where the model has classes."""
    numbers = rows(test, params.evaluation.samples)
    names = picture_classes(test.card)
    known_classes = description.classes
    if description.model.vocabulary and test.texts is None:
        length = description.model.text_length
        test = ImageArrays(test.images, test.labels, test.card, np.zeros((len(test.labels), length), dtype=np.int64))
    conditions = condition(test, numbers, description)
    if known_classes and all(name in known_classes for name in names):
        table = torch.tensor([known_classes.index(name) for name in names])
        conditions["labels"] = table[conditions["labels"].clamp(min=0)]
    elif known_classes:
        if not description.label_dropout > 0:
            conditions["labels"] = torch.arange(len(numbers)) % len(known_classes)
        else:
            conditions = unconditional(conditions, len(known_classes))
    pictures = draw(model, description, conditions, steps, params.sampling, seed=params.seed)
    return pictures, conditions["labels"] if known_classes else None


def _recognised(
    extract: Any, pictures: Tensor, pools: dict[str, ImageArrays], params: Params
) -> tuple[float, float, float]:
    """The share of ``pictures`` that are nearer to a new held-out picture than to any of equally many old ones, with its interval."""
    features, _ = extract(scaled(to_uint8(pictures)))
    count = min(len(pool.labels) for pool in pools.values())
    random = np.random.default_rng(params.seed)
    nearest = {}
    for name, pool in pools.items():
        numbers = np.sort(random.permutation(len(pool.labels))[:count])
        real, _ = extract(scaled(pool.images[numbers]))
        nearest[name] = distances(features, real).min(1)
    is_new = nearest["new"] < nearest["old"]
    low, high = proportion(int(is_new.sum()), len(is_new), params.evaluation.confidence)
    return float(is_new.mean()), low, high
