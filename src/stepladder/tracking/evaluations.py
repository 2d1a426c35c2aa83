"""Quality figures in the runs, so that MLflow's charts show quality against T and S at a glance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from stepladder.tracking import runs, store

POINT = ("frechet", "kid", "accuracy", "milliseconds_per_image")
TEXT = ("bleu", "chrf", "exact_match", "perplexity", "sentences_per_second")


def record(model_folder: Path, report_folder: Path) -> None:
    """The evaluation in ``report_folder`` to the run that made the model in ``model_folder``.

    Of a diffusion model: ``eval/...`` with step = S, the best as plain figures, and to the sweep's parent a series for each
    T; of a translation model its scores. Pictures and tables as artifacts. What was recorded before is replaced only if it differs.
    """
    run = runs.of_model(model_folder)
    if run is None:
        return
    client = store.client()
    text = (report_folder / "metrics.json").read_text(encoding="utf-8")
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    if client.get_run(run["run_id"]).data.tags.get("stepladder.evaluation") == mark:
        return
    metrics = json.loads(text)
    if "points" in metrics:
        _record_points(client, run, metrics)
    else:
        _log(client, run["run_id"], {f"eval/{name}": metrics[name] for name in TEXT if metrics.get(name) is not None})
    client.log_artifacts(run["run_id"], str(report_folder), "evaluation")
    client.set_tag(run["run_id"], "stepladder.evaluation", mark)


def record_comparison(models: Path, reports: Path) -> None:
    """The comparison to the sweep's parent run: the recommended point, the table and the figures."""
    comparison = json.loads((reports / "comparison.json").read_text(encoding="utf-8"))
    recommended = comparison["recommended"]
    run = runs.of_model(models / "diffusion" / f"T{recommended['timesteps']}")
    if run is None or not run["parent_run_id"]:
        return
    client, parent = store.client(), run["parent_run_id"]
    _log(
        client,
        parent,
        {f"recommended/{name}": recommended[name] for name in POINT if recommended.get(name) is not None},
    )
    for name in ("timesteps", "sampling_steps"):
        client.set_tag(parent, f"recommended.{name}", recommended[name])
    rows = comparison["sweep"]
    table = {key: [row.get(key) for row in rows] for key in rows[0]}
    client.log_table(parent, table, "comparison/sweep.json")
    client.log_artifacts(parent, str(reports / "figures"), "comparison/figures")


def _record_points(client: Any, run: dict[str, Any], metrics: dict[str, Any]) -> None:
    timesteps, best = metrics["timesteps"], metrics["best"]
    for point in metrics["points"]:
        figures = {name: point[name] for name in POINT if point.get(name) is not None}
        _log(client, run["run_id"], {f"eval/{name}": value for name, value in figures.items()}, point["sampling_steps"])
        if run.get("parent_run_id"):
            series = {f"{name}/T{timesteps}": value for name, value in figures.items()}
            _log(client, run["parent_run_id"], series, point["sampling_steps"])
    plain = {f"best_{name}": best[name] for name in POINT if best.get(name) is not None}
    over_floor = best["frechet"] / metrics["floor"]["frechet"]
    _log(
        client, run["run_id"], plain | {"best_sampling_steps": best["sampling_steps"], "frechet_over_floor": over_floor}
    )


def _log(client: Any, run_id: str, figures: dict[str, float], step: int = 0) -> None:
    from mlflow.entities import Metric

    client.log_batch(run_id, metrics=[Metric(k, float(v), store.now(), step) for k, v in figures.items()])
