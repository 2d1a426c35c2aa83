"""One cell of a study: an arm trained with one seed and judged at each way to sample from it.

All cells are judged by the same network on the same data, with the workspace's seed; the seed of a cell is that of its
training and of the noise that its pictures start from.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from stepladder import history
from stepladder.baselines import drawing as baselines
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion import likelihood
from stepladder.diffusion.classifier import load as load_classifier
from stepladder.diffusion.sampling import drawing
from stepladder.errors import UserError
from stepladder.evaluation.pictures import held_out
from stepladder.evaluation.pictures.drawers import local_sampler, timed
from stepladder.evaluation.pictures.images import strip
from stepladder.evaluation.pictures.judging import Judge, scaled
from stepladder.launching.launch import identity, train
from stepladder.params import Params, Sampling, load
from stepladder.studies import spec, text_cell
from stepladder.studies.checking import check_arm, check_data, guide_folder
from stepladder.studies.spec import Arm, Study
from stepladder.studies.stages import AT_ONCE

if TYPE_CHECKING:
    from stepladder.studies.results import Cell, Point
    from stepladder.values import Values

Ways = Sequence[tuple[Sampling, Sequence[int]]]
STOPPED = (130, 137, 143)  # exit codes of a training that a person or the system ended; it did not fail


def folder(name: str, arm: str, seed: int) -> Path:
    """The folder of a cell: ``model/``, ``metrics.json`` and the strips of pictures that its points name."""
    return spec.folder(name) / "cells" / f"{arm}-{seed}"


def run(name: str, arm: str, seed: int, data: Path, feature_net: Path) -> int:
    """Train and judge the cell (``arm``, ``seed``) of the study ``name``; returns the exit code.

    An existing model of the same spec, data and code is judged again but not trained again. Pictures that are not
    finite are a result: the point has no figures. ``failed.json`` says why a training failed, for the page; the
    next run tries it again.

    Raises:
        UserError: there is no such cell, or training or judging raises it.
    """
    study = spec.read(name)
    if arm not in study.arms or seed not in study.seeds:
        raise UserError(
            f"The study {name} has no cell of arm {arm!r} and seed {seed}; arms: {', '.join(study.arms)}; "
            f"seeds: {', '.join(map(str, study.seeds))}."
        )
    arm_spec, params, out = study.arms[arm], study.params(arm, seed), folder(name, arm, seed)
    check_data(name, study)
    check_arm(study, arm, data, feature_net)
    code = _train_model(name, arm, arm_spec, params, data, out)
    if code:
        return code
    metrics = judge_model(name, study, arm, seed, params, out / "model", out, data, feature_net)
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    (out / "metrics.json").write_text(json.dumps({**metrics, "timing": timing}, indent=1) + "\n", encoding="utf-8")
    return 0


def judge_model(
    name: str, study: Study, arm: str, seed: int, params: Params, model: Path, out: Path, data: Path, feature_net: Path
) -> Cell:
    """The figures of ``model``, trained as ``arm`` with ``seed``, at each way to sample; strips go to ``out``."""
    arm_spec, title = study.arms[arm], f"{name} {arm} seed {seed}"
    if study.of_text:
        return text_cell.judge_model(name, study, arm, seed, params, model, out, data)
    judge = Judge(params.model_copy(update={"seed": load(preset=study.preset).seed}), data, feature_net)
    for old in out.glob("*.png"):
        old.unlink()
    if arm_spec.family == "diffusion":
        points = _judge_diffusion(study.ways(arm), judge, model, out, seed, title, guide_folder(feature_net))
    else:
        points = _judge_baseline(judge, model, out, seed, title)
    model_run = history.run(model)
    measures_bits = "bits_per_dim" in study.measures
    return {
        "study": name, "arm": arm, "seed": seed, "family": arm_spec.family, "timesteps": arm_spec.timesteps or None,
        "points": points,
        "bits_per_dim": _bits_per_dim(arm_spec, params, data, model, model_run["figures"]) if measures_bits else None,
        "training": model_run["figures"],
        "run": {key: model_run.get(key) for key in ("run_id", "experiment_id", "tracking_uri", "git_commit", "key")},
        "floor": judge.floor, "held_out": judge.held_out, "protocol": judge.protocol,
    }  # fmt: skip


def _train_model(name: str, arm: str, arm_spec: Arm, params: Params, data: Path, out: Path) -> int:
    """Bring ``out/model`` up to date; the exit code of the training."""
    timesteps, study = arm_spec.timesteps or None, (name, arm)
    if history.key(out / "model") == identity(arm_spec.family, params, data, timesteps=timesteps, study=study):
        print(f"{name} {arm} seed {params.seed}: the model is as it should be; it is judged again.", flush=True)
        return 0
    shutil.rmtree(out, ignore_errors=True)
    try:
        code = train(arm_spec.family, params, data, out / "model", timesteps=timesteps, study=study)
    except UserError as error:
        _write_failure(out, str(error))
        raise
    if code and code not in STOPPED:
        _write_failure(out, f"its training ended with exit code {code}")
    if code == 0:
        timing = {
            "at_once": int(os.environ.get(AT_ONCE, "1")),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        }
        (out / "timing.json").write_text(json.dumps(timing) + "\n", encoding="utf-8")
    return code


def _write_failure(out: Path, why: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / spec.FAILED).write_text(json.dumps({"why": why}) + "\n", encoding="utf-8")


def _judge_diffusion(
    ways: Ways, judge: Judge, folder: Path, out: Path, seed: int, name: str, classifier: Path
) -> list[Point]:
    model, description = drawing.load(folder)
    model.to(_device())
    numbers, points = held_out.rows(judge.test, judge.params.evaluation.samples), []
    guide = None
    if any(sampling.classifier_scale for sampling, _ in ways):
        guide = load_classifier(classifier, description)[0].to(_device())
    drawer = local_sampler(model, description, seed, guide)
    for way_index, (sampling, all_steps) in enumerate(ways):
        classes = judge.test.card["classes"] if sampling.classifier_scale else description.classes
        condition = held_out.condition(judge.test, numbers, description.model_copy(update={"classes": tuple(classes)}))
        for steps in all_steps:
            pictures, cost = drawer(condition, steps, sampling)
            figures = _judge_pictures(judge, pictures, condition["labels"] if classes else None) | cost
            points.append(_point(sampling.model_dump(mode="json"), steps, f"way{way_index}-S{steps}.png", figures))
            _save_strip(points[-1], pictures, out, f"{name} {sampling.sampler} S={steps}", judge)
    return points


def _judge_baseline(judge: Judge, folder: Path, out: Path, seed: int, name: str) -> list[Point]:
    model, description = baselines.load(folder)
    model.to(_device())
    condition = held_out.condition(judge.test, held_out.rows(judge.test, judge.params.evaluation.samples), description)
    pictures, cost = timed(model, lambda: baselines.draw(model, description, condition, seed=seed))
    figures = _judge_pictures(judge, pictures, condition["labels"] if description.classes else None) | cost
    point = _point(None, 1, "one-pass.png", figures)
    _save_strip(point, pictures, out, name, judge)
    return [point]


def _point(sampling: Values | None, steps: int, strip: str, figures: Mapping[str, float | None]) -> Point:
    return cast("Point", {"sampling": sampling, "steps": steps, "strip": strip, **figures})


def _judge_pictures(judge: Judge, pictures: Tensor, labels: Tensor | None) -> dict[str, float | None]:
    """The judge's figures; where some pictures are not finite numbers, only the share of those that are."""
    finite = pictures.isfinite().flatten(1).all(1)
    if not finite.all():
        return {"finite": float(finite.float().mean())}
    metrics = judge.point(pictures, labels)
    return {key: value if math.isfinite(value) else None for key, value in metrics.items()}


def _save_strip(point: Point, pictures: Tensor, out: Path, name: str, judge: Judge) -> None:
    strip(pictures.nan_to_num(0.0)).save(out / point["strip"])
    distance = (
        f"Frechet {point['frechet']:.4g} (floor {judge.floor['frechet']:.4g})"
        if point.get("frechet") is not None
        else "not numbers"
    )
    print(f"{name}: {distance}", flush=True)


def _bits_per_dim(arm_spec: Arm, params: Params, data: Path, folder: Path, figures: dict[str, float]) -> float | None:
    """Bits/dim of the held-out pictures, by the bound of the family; ``None`` where it has none.

    A diffusion model is evaluated at all its T steps, one of continuous time at ``timesteps`` evenly spaced times.
    """
    if arm_spec.family != "diffusion":
        return figures.get("validation/bits_per_dim")
    model, description = drawing.load(folder)
    model.to(_device())
    test = ImageArrays.open(data, "test")
    condition = held_out.condition(test, np.arange(len(test.labels)), description)
    bits = likelihood.bits_per_dim(model, description, scaled(test.images), condition, seed=params.seed)["bits_per_dim"]
    return bits if math.isfinite(bits) else None


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
