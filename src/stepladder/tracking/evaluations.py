"""Quality figures in the runs, so that MLflow's charts show quality against T and S at a glance.

A training's run has ``eval/FIGURE`` with step = S, ``eval/bits_per_dim``, and the best S's as ``best_FIGURE``; the sweep's parent has
``FIGURE/T200`` with step = S for each T, ``best/FIGURE`` with step = T, and what the comparison recommends.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from stepladder.tracking import runs, store

POINT = ("frechet", "kid", "accuracy", "milliseconds_per_image")
FURTHER = ("precision", "recall", "density", "coverage", "memorised", "nearest_ratio", "network_evaluations")
TEXT = (
    *("bleu", "chrf", "chrf_low", "chrf_high", "ter", "bleu_lowercased_tokenised", "rouge1", "rouge2", "rougel"),
    *("exact_match", "perplexity", "sentences_per_second", "bits_per_character", "bits_per_character_low"),
    *("bits_per_character_high", "loss", "accuracy", "accuracy_low", "accuracy_high", "macro_f1"),
)
EVALUATION, COMPARISON = "stepladder.evaluation", "stepladder.comparison"  # hash of what is recorded
TABLE = "comparison/sweep.json"


@store.answering()
def record(model_folder: Path, report_folder: Path) -> None:
    """The evaluation in ``report_folder`` to the run that made the model in ``model_folder``, and to its sweep's parent.

    Pictures and tables go with it as artifacts. What is recorded already is not recorded again; a different evaluation of
    the same model adds its figures, which then are the latest. Without a run in the store nothing is done.

    Raises:
        UserError: the store does not take them.
    """
    run = runs.of_model(model_folder)
    if run is None:
        return
    client = store.client()
    text = (report_folder / "metrics.json").read_text(encoding="utf-8")
    if _has(client, run["run_id"], EVALUATION, text):
        return
    metrics = json.loads(text)
    if "points" in metrics:
        _record_points(client, run, metrics)
    elif "point" in metrics:
        _log(client, run["run_id"], {f"eval/{name}": metrics["point"].get(name) for name in (*POINT, *FURTHER)})
    else:
        _log(client, run["run_id"], {f"eval/{name}": metrics.get(name) for name in TEXT})
        _log(client, run["run_id"], {f"copy/{name}": value for name, value in (metrics.get("copy") or {}).items()})
        for split, figures in (metrics.get("splits") or {}).items():
            _log(client, run["run_id"], {f"eval/{split}/{name}": figures.get(name) for name in TEXT})
    client.log_artifacts(run["run_id"], str(report_folder), "evaluation")
    client.set_tag(run["run_id"], EVALUATION, _mark(text))


@store.answering()
def record_comparison(models: Path, reports: Path) -> None:
    """The comparison to the sweep's parent run: the recommended point, the table and the figures; once.

    Raises:
        UserError: the store does not take them.
    """
    text = (reports / "comparison.json").read_text(encoding="utf-8")
    comparison = json.loads(text)
    recommended = comparison.get("recommended")
    run = runs.of_model(models / "diffusion" / f"T{recommended['timesteps']}") if recommended else None
    if run is None or not run["parent_run_id"]:
        return
    client, parent = store.client(), run["parent_run_id"]
    if _has(client, parent, COMPARISON, text):
        return
    names = ("timesteps", "sampling_steps", *POINT, "frechet_over_floor")
    _log(client, parent, {f"recommended/{name}": recommended.get(name) for name in names})
    rows = comparison["sweep"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
    client.log_dict(parent, table, TABLE)
    client.set_tag(parent, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
    if (reports / "figures").is_dir():
        client.log_artifacts(parent, str(reports / "figures"), "comparison/figures")
    for name in ("timesteps", "sampling_steps"):
        client.set_tag(parent, f"recommended.{name}", recommended[name])
    client.set_tag(parent, COMPARISON, _mark(text))


def _record_points(client: Any, run: dict[str, Any], metrics: dict[str, Any]) -> None:
    timesteps, best, parent = metrics["timesteps"], metrics["best"], run.get("parent_run_id")
    for point in metrics["points"]:
        steps = point["sampling_steps"]
        _log(client, run["run_id"], {f"eval/{name}": point.get(name) for name in (*POINT, *FURTHER)}, steps)
        if parent:
            _log(client, parent, {f"{name}/T{timesteps}": point.get(name) for name in POINT}, steps)
    floor = (metrics.get("floor") or {}).get("frechet")
    figures = {name: best.get(name) for name in (*POINT, "sampling_steps")}
    figures["frechet_over_floor"] = best["frechet"] / floor if floor else None
    bits = (metrics.get("likelihood") or {}).get("bits_per_dim")
    _log(client, run["run_id"], {"eval/bits_per_dim": bits}, timesteps)
    _log(client, run["run_id"], {f"best_{name}": value for name, value in figures.items()})
    if parent:
        figures["bits_per_dim"] = bits
        _log(client, parent, {f"best/{name}": value for name, value in figures.items()}, timesteps)


def _log(client: Any, run_id: str, figures: dict[str, float | None], step: int = 0) -> None:
    """Those of ``figures`` that there are."""
    from mlflow.entities import Metric

    metrics = [Metric(name, float(value), store.now(), step) for name, value in figures.items() if value is not None]
    client.log_batch(run_id, metrics=metrics)


def _has(client: Any, run_id: str, tag: str, text: str) -> bool:
    return bool(client.get_run(run_id).data.tags.get(tag) == _mark(text))


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
