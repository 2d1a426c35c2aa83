"""Judges the pictures of a VAE or GAN, the baselines of diffusion, by the same protocol; each has a single point."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from stepladder import history
from stepladder.baselines.drawing import draw, load
from stepladder.errors import UserError
from stepladder.evaluation.pictures.drawers import timed
from stepladder.evaluation.pictures.held_out import condition, rows
from stepladder.evaluation.pictures.images import empty_folder, strip, summary_line
from stepladder.evaluation.pictures.judging import Judge
from stepladder.judgement import identity
from stepladder.metrics.pictures import PictureMetrics, Point
from stepladder.params import Params


def evaluate(
    params: Params, family: str, data: Path, feature_net: Path, model_folder: Path, out: Path
) -> PictureMetrics:
    """Judge the "vae" or "gan" in ``model_folder``; write ``metrics.json`` and a strip ``samples.png`` into ``out``.

    Raises:
        UserError: the folder holds no model of this family, or it generates pictures that are not numbers.
    """
    model, description = load(model_folder)
    if description.family != family:
        raise UserError(f"{model_folder} holds a model of the family {description.family}, not {family}.")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    judge = Judge(params, data, feature_net)
    conditions = condition(judge.test, rows(judge.test, params.evaluation.samples), description)
    pictures, cost = timed(model, lambda: draw(model, description, conditions, seed=params.seed))
    if not pictures.isfinite().all():
        raise UserError(
            f"The {family} in {model_folder} draws pictures that are not numbers: its training diverged; lower "
            f"{family}.training.learning_rate."
        )
    point = judge.point(pictures, conditions["labels"] if description.classes else None) | cost
    empty_folder(out)
    strip(pictures).save(out / "samples.png")
    print(summary_line(judge, family, point), flush=True)
    metrics: PictureMetrics = {
        "family": family,
        "judged": identity.judged(params, model_folder, data, identity.judges(params, feature_net)),
        "floor": judge.floor,
        "held_out": judge.held_out,
        "features": judge.protocol["features"],
        "protocol": judge.protocol,
        "point": cast(Point, point),
    }
    history.write(out / "metrics.json", metrics)
    return metrics
