"""One cell of a study of language models: its figures on the held-out text, and those of its training's curve."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stepladder import history
from stepladder.data.card import read_card
from stepladder.evaluation.text import evaluate
from stepladder.metrics.every import METRICS
from stepladder.metrics.numbers import of_metric
from stepladder.params import Params, load
from stepladder.studies.spec import Study

if TYPE_CHECKING:
    from stepladder.studies.results import Cell, Point

LAST = 10  # the mean of this many last training losses is the loss at the end


def judge_model(
    name: str, study: Study, arm: str, seed: int, params: Params, model: Path, out: Path, data: Path
) -> Cell:
    """The figures of ``model``, trained as ``arm`` with ``seed``; its evaluation goes to ``out/evaluation``."""
    common = params.model_copy(update={"seed": load(preset=study.preset).seed})
    results: Mapping[str, object] = evaluate(common, data, model, out / "evaluation")
    model_run = history.run(model)
    figure_names = [f"{measure}{end}" for measure in METRICS for end in ("", "_low", "_high")]
    figures = {key: value for key in figure_names if isinstance(value := results.get(key), int | float)}
    figures |= training_metrics(model, model_run["figures"])
    finite = {key: value for key, value in figures.items() if math.isfinite(value)}
    first = study.measures[0]
    print(
        f"{name} {arm} seed {seed}: {METRICS[first].label} {of_metric(METRICS[first], finite.get(first))}", flush=True
    )
    counts = read_card(data)["counts"]
    return {
        "study": name, "arm": arm, "seed": seed, "family": study.arms[arm].family, "timesteps": None,
        "points": [cast("Point", {"sampling": None, "steps": 0, "strip": "", **finite})],
        "bits_per_dim": None, "training": model_run["figures"],
        "run": {key: model_run.get(key) for key in ("run_id", "experiment_id", "tracking_uri", "git_commit", "key")},
        "floor": {}, "held_out": counts["test"],
        "protocol": {
            "confidence": common.evaluation.confidence, "bootstrap": common.evaluation.bootstrap, "training": counts["train"],
            "held_out": counts["test"],
        },
    }  # fmt: skip


def training_metrics(model: Path, figures: dict[str, float]) -> dict[str, float]:
    """``loss`` of the exported weights, its ``gap`` to the training loss at the end, and the ``gradient_ratio`` at the first step."""
    lines = history.curve(model)
    metrics: dict[str, float] = {}
    losses = [line["metrics"]["train/loss"] for line in lines if "train/loss" in line["metrics"]]
    if "validation/loss" in figures:
        metrics["loss"] = figures["validation/loss"]
        if losses:
            metrics["gap"] = metrics["loss"] - statistics.fmean(losses[-LAST:])
    first = [
        value
        for line in lines
        for key, value in line["metrics"].items()
        if line["step"] == 1 and key.startswith("gradient_norm/")
    ]
    if first and min(first) > 0:
        metrics["gradient_ratio"] = max(first) / min(first)
    return metrics
