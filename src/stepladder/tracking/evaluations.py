"""Quality figures in the runs, so that MLflow's charts show quality against T and S at a glance.

A training's run has ``eval/FIGURE`` with step = S, ``eval/bits_per_dim``, and the best S's as ``best_FIGURE``; the sweep's parent has
``FIGURE/T200`` with step = S for each T, ``best/FIGURE`` with step = T, and what the comparison recommends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from stepladder import history
from stepladder.metrics.pictures import POINTS
from stepladder.metrics.texts import JUDGED
from stepladder.tracking import runs, store

SWEEP = ("frechet", "kid", "accuracy", "milliseconds_per_image")  # of a sweep's charts, a line each T
POINT = (*POINTS, "network_evaluations", "milliseconds_per_image")
TEXT = (*(f"{name}{end}" for name in JUDGED for end in ("", "_low", "_high")), "sentences_per_second")
EVALUATION, COMPARISON = "stepladder.evaluation", "stepladder.comparison"  # hash of what is recorded
TABLE = "comparison/sweep.json"
BATCH = 1000  # figures a request: MLflow's limit


class Judged(TypedDict):
    """The part of a diffusion model's evaluation that runs have: figures by name."""

    timesteps: int
    points: list[dict[str, float]]
    best: dict[str, float]
    floor: NotRequired[dict[str, float] | None]
    likelihood: NotRequired[dict[str, float] | None]


@store.answering()
def record(model_folder: Path, report_folder: Path) -> None:
    """Record the evaluation in ``report_folder`` in the run that made the model in ``model_folder``, and in its sweep's parent.

    Pictures and tables go with it as artifacts. An evaluation is recorded once; a different evaluation of
    the same model adds its figures, which then are the latest. Without a run in the store nothing is done.

    Raises:
        UserError: the store does not take them.
    """
    run = runs.of_model(model_folder)
    if run is None:
        return
    client = store.client()
    text = (report_folder / "metrics.json").read_text(encoding="utf-8")
    if (points := _begin(client, run["run_id"], EVALUATION, text)) is None:
        return
    metrics = history.read(report_folder / "metrics.json")
    if "points" in metrics:
        _add_points(points, run, metrics)
    elif "point" in metrics:
        points.add(run["run_id"], {f"eval/{name}": metrics["point"].get(name) for name in POINT})
    else:
        points.add(run["run_id"], {f"eval/{name}": metrics.get(name) for name in TEXT})
        points.add(run["run_id"], {f"copy/{name}": value for name, value in (metrics.get("copy") or {}).items()})
        for split, figures in (metrics.get("splits") or {}).items():
            points.add(run["run_id"], {f"eval/{split}/{name}": figures.get(name) for name in TEXT})
    points.send(client)
    client.log_artifacts(run["run_id"], str(report_folder), "evaluation")
    client.set_tag(run["run_id"], EVALUATION, _mark(text))


@store.answering()
def record_comparison(models: Path, reports: Path) -> None:
    """Record the comparison in the sweep's parent run: the recommended point, the table and the figures; once.

    Raises:
        UserError: the store does not take them.
    """
    text = (reports / "comparison.json").read_text(encoding="utf-8")
    comparison = history.compared(json.loads(text), models, reports)
    recommended = comparison.get("recommended") or {}
    run = runs.of_model(models / "diffusion" / f"T{recommended['timesteps']}") if recommended else None
    if run is None or (parent := run["parent_run_id"]) is None:
        return
    client = store.client()
    if (points := _begin(client, parent, COMPARISON, text)) is None:
        return
    names = ("timesteps", "sampling_steps", *SWEEP, "frechet_over_floor")
    points.add(parent, {f"recommended/{name}": recommended.get(name) for name in names})
    points.send(client)
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


def _add_points(points: _Points, run: runs.Tracked, metrics: Judged) -> None:
    timesteps, best, parent = metrics["timesteps"], metrics["best"], run["parent_run_id"]
    for point in metrics["points"]:
        steps = int(point["sampling_steps"])
        points.add(run["run_id"], {f"eval/{name}": point.get(name) for name in POINT}, steps)
        if parent:
            points.add(parent, {f"{name}/T{timesteps}": point.get(name) for name in SWEEP}, steps)
    floor = (metrics.get("floor") or {}).get("frechet")
    figures: dict[str, float | None] = {name: best.get(name) for name in (*SWEEP, "sampling_steps")}
    figures["frechet_over_floor"] = best["frechet"] / floor if floor else None
    bits = (metrics.get("likelihood") or {}).get("bits_per_dim")
    points.add(run["run_id"], {"eval/bits_per_dim": bits}, timesteps)
    points.add(run["run_id"], {f"best_{name}": value for name, value in figures.items()})
    if parent:
        figures["bits_per_dim"] = bits
        points.add(parent, {f"best/{name}": value for name, value in figures.items()}, timesteps)


class _Points:
    """Figures to be sent to runs, all with one time: a store keeps points of the same name, step, value and time only once."""

    def __init__(self, time: int) -> None:
        self.time = time
        self._by_run: dict[str, list[tuple[str, float, int]]] = {}

    def add(self, run_id: str, figures: Mapping[str, float | None], step: int = 0) -> None:
        """Add those of ``figures`` that have a value."""
        values = [(name, float(value), step) for name, value in figures.items() if value is not None]
        self._by_run.setdefault(run_id, []).extend(values)

    def send(self, client: Any) -> None:
        from mlflow.entities import Metric

        for run_id, figures in self._by_run.items():
            metrics = [Metric(name, value, self.time, step) for name, value, step in figures]
            for start in range(0, len(metrics), BATCH):
                client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def _begin(client: Any, run_id: str, tag: str, text: str) -> _Points | None:
    """An empty collection for the points of ``text``, or ``None`` where all of them are recorded.

    ``tag`` first records that it was begun, and when: after a kill the same points are sent again with the same time, which
    the store already has or not.
    """
    mark, state = _mark(text), str(client.get_run(run_id).data.tags.get(tag, ""))
    if state == mark:
        return None
    known, _, time = state.partition(":")
    if known != mark or not time.isdecimal():
        time = str(store.now())
        client.set_tag(run_id, tag, f"{mark}:{time}")
    return _Points(int(time))


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
