"""What adapting a model to one's own pictures gave, and what the model forgot of its old ones.

Pictures of the new classes are judged against the held-out pictures of one's own, by the ``Judge``'s protocol; ``recognised`` is the
share of them whose nearest picture, among as many old as new real ones, is new, in features that were trained on the old ones
only. Pictures of the old classes are judged as those of any model. All start from the same noise, in S steps.
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
from stepladder.evaluation.pictures.images import fresh, strip
from stepladder.evaluation.pictures.intervals import proportion
from stepladder.evaluation.pictures.judging import Judge
from stepladder.evaluation.pictures.neighbours import distances
from stepladder.judgement import identity
from stepladder.metrics.pictures import Protocol
from stepladder.params import Params

Array = npt.NDArray[np.float64]


class AdaptedMetrics(TypedDict):
    """What was found, ``metrics.json``: of the ``new`` pictures also ``recognised``; ``floor``: what real pictures get."""

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


def evaluate(params: Params, data: Path, own: Path, feature_net: Path, model_folder: Path, out: Path) -> AdaptedMetrics:
    """Judge the model in ``model_folder``, adapted or not yet; write ``metrics.json`` and strips of pictures into ``out``.

    A model that does not know the new classes is asked for pictures of no class.

    Args:
        data: prepared pictures that it was trained on first; own: those that it is adapted to; feature_net: of ``data``.

    Raises:
        UserError: something is missing, or the model draws pictures that are not numbers.
    """
    model, description = load(model_folder)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    judges = {"new": Judge(params, own, feature_net), "old": Judge(params, data, feature_net)}
    steps = min(params.adaptation.sampling_steps, description.timesteps)
    see = features_of(feature_net, params.evaluation.inception_weights)
    pools = {name: judge.test for name, judge in judges.items()}
    drawn = {name: _drawn(params, model, description, judge.test, steps) for name, judge in judges.items()}
    found: dict[str, dict[str, float]] = {}
    for name, (pictures, labels) in drawn.items():
        if not pictures.isfinite().all():
            raise UserError(
                f"The model in {model_folder} draws pictures that are not numbers: its training diverged; lower "
                "adaptation.training.learning_rate, or adaptation.full_learning_rate."
            )
        found[name] = judges[name].point(pictures, labels if name == "old" else None)
    share, low, high = _recognised(see, drawn["new"][0], pools, params)
    found["new"] |= {"recognised": share, "recognised_low": low, "recognised_high": high}
    real, *_ = _recognised(see, scaled(judges["new"].train.images), pools, params)
    fresh(out)
    for name, (pictures, _) in drawn.items():
        (grid(pictures[:40], columns=10) if name == "new" else strip(pictures)).save(out / f"{name}.png")
    metrics: AdaptedMetrics = {
        "adapted": description.adapted.model_dump(mode="json", exclude_unset=True) if description.adapted else None,
        "judged": identity.judged(params, model_folder, own, identity.judges(params, feature_net)),
        "sampling_steps": steps,
        "sampling": params.sampling.model_dump(mode="json"),
        "floor": {"new": judges["new"].floor | {"recognised": real}, "old": judges["old"].floor},
        "held_out": {"new": {"images": judges["new"].held_out["images"]}, "old": judges["old"].held_out},
        "protocol": {name: judge.protocol for name, judge in judges.items()},
        "point": found["new"],
        "new": found["new"],
        "old": found["old"],
    }
    history.write(out / "metrics.json", metrics)
    print(f"{out.name}: new pictures: Frechet {found['new']['frechet']:.4g}, recognised {share:.3f}; old ones: Frechet "
          f"{found['old']['frechet']:.4g}, accuracy {found['old'].get('accuracy', float('nan')):.3f}")  # fmt: skip
    return metrics


def _drawn(
    params: Params, model: torch.nn.Module, description: DiffusionDescription, test: ImageArrays, steps: int
) -> tuple[Tensor, Tensor | None]:
    """Pictures for the conditions of the held-out ones in ``test``, and their classes, where the model knows classes."""
    numbers = rows(test, params.evaluation.samples)
    names = picture_classes(test.card)
    known = description.classes
    if description.model.vocabulary and test.texts is None:
        length = description.model.text_length
        test = ImageArrays(test.images, test.labels, test.card, np.zeros((len(test.labels), length), dtype=np.int64))
    asked = condition(test, numbers, description)
    if known and all(name in known for name in names):
        table = torch.tensor([known.index(name) for name in names])
        asked["labels"] = table[asked["labels"].clamp(min=0)]
    elif known:
        if not description.label_dropout > 0:
            asked["labels"] = torch.arange(len(numbers)) % len(known)
        else:
            asked = unconditional(asked, len(known))
    pictures = draw(model, description, asked, steps, params.sampling, seed=params.seed)
    return pictures, asked["labels"] if known else None


def _recognised(
    see: Any, pictures: Tensor, pools: dict[str, ImageArrays], params: Params
) -> tuple[float, float, float]:
    """Share, and its interval, of ``pictures`` nearer to a new held-out picture than to any of as many old ones."""
    features, _ = see(scaled(to_uint8(pictures)))
    count = min(len(pool.labels) for pool in pools.values())
    random = np.random.default_rng(params.seed)
    nearest = {}
    for name, pool in pools.items():
        chosen = np.sort(random.permutation(len(pool.labels))[:count])
        real, _ = see(scaled(pool.images[chosen]))
        nearest[name] = distances(features, real).min(1)
    new = nearest["new"] < nearest["old"]
    low, high = proportion(int(new.sum()), len(new), params.evaluation.confidence)
    return float(new.mean()), low, high
