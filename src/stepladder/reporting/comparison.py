"""Brings the results of the sweep and of the language model together, with a recommendation. ``figures`` plots them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepladder import absent, history
from stepladder.errors import UserError
from stepladder.judgement import identity
from stepladder.judgement.failure import failed, failed_text
from stepladder.metrics.pictures import HEADLINES, PICTURES, POINTS, PictureMetrics, Point
from stepladder.metrics.texts import Translated, headlines
from stepladder.params import Params, Promotion
from stepladder.reporting.reading import curves, read_json, read_lines, series
from stepladder.reporting.recommendation import recommend
from stepladder.reporting.rows import Bar, Comparison, Loss, Recommended, Training
from stepladder.text_tasks.record import ENTRIES, Figures
from stepladder.text_tasks.tasks import TASKS, compared, name_of

PLOTTED = (
    *(f"{name}{end}" for name in POINTS for end in (("", "_low", "_high") if PICTURES[name].band else ("",))),
    *("frechet_over_floor", "network_evaluations", "images"),
)
"""The values of a point that ``dvc plots`` can show."""


def compare(params: Params, models: Path, reports: Path, *, leave_out: bool = False) -> Comparison:
    """Compare all that ``reports`` and ``models`` hold for the T of ``params.sweep``, write it and return it.

    In ``reports`` it writes ``comparison.json`` (the result), ``metrics.json`` for ``dvc metrics``; for ``dvc plots``
    ``sweep.json`` (a row each (T, S)), ``losses.json`` (a row each loss of a curve) and ``chrf.json`` (sentences a class of
    chrF). The recommendation is that of ``recommendation.recommend``. A T that has not been evaluated is named in
    ``"missing"``; a missing language model has no entry. ``"absent"`` has the reasons for what the parameters leave
    out, ``"failed"`` for what counts as failed.

    Args:
        leave_out: figures of another training, or of other data, than those in place are left out instead of refused.

    Raises:
        UserError: nothing at all has been evaluated, a file cannot be read, figures belong to another training or to
            other held-out data than those in place, or the T were judged by different feature networks.
    """
    folders = {t: reports / "diffusion" / f"T{t}" for t in sorted(params.sweep.timesteps)}
    evaluated: dict[int, PictureMetrics] = {
        t: _checked_metrics(folder, models / "diffusion" / f"T{t}", f"diffusion --timesteps {t}", leave_out)
        for t, folder in folders.items()
        if not absent.why(folder)
    }
    finished = {t: metrics for t, metrics in evaluated.items() if metrics}
    text: Figures = _checked_metrics(reports / "transformer", models / "transformer", "transformer", leave_out)
    entry = TASKS[name_of(text)].page.entry
    if not finished and not text:
        raise UserError(
            f"{reports} holds no evaluation of T={', '.join(map(str, folders))} nor of a language model; "
            "run `dvc repro`, or `stepladder evaluate`, first."
        )
    floor = _floor(finished)
    sweep = [_with_floor_ratio(floor, point) for metrics in finished.values() for point in _points(metrics)]
    recommended = recommend(
        sweep, floor.get("frechet"), params.evaluation.confidence, lambda p: _failed(p, floor, params.promotion)
    )
    comparison: Comparison = {
        "sweep": sweep,
        "missing": [t for t in evaluated if t not in finished],
        "absent": {"pictures": absent.why(*folders.values()), "text": absent.why(reports / "transformer")},
        "floor": floor,
        "protocol": next((metrics["protocol"] for metrics in finished.values() if "protocol" in metrics), None) or {},
        "likelihood": [
            {"timesteps": t, **metrics["likelihood"]} for t, metrics in finished.items() if metrics.get("likelihood")
        ],
        "recommended": recommended,
        "confidence": params.evaluation.confidence,
        "training": [
            {"timesteps": t, **row} for t in evaluated if (row := _training(models / "diffusion" / f"T{t}")) is not None
        ],
        "feature_net": _feature_net(models / "feature-net"),
        "translation": text if entry == "translation" else {},
        "language_model": text if entry == "language_model" else {},
        "translation_training": _training(models / "transformer"),
        "judged": _judged(finished, text),
        "failed": _failures(recommended, entry, text, params),
    }
    _write_all(comparison, params, models, reports)
    return comparison


def _write_all(comparison: Comparison, params: Params, models: Path, reports: Path) -> None:
    """Write the comparison, and the files that DVC shows and plots, as ``compare`` says."""
    reports.mkdir(parents=True, exist_ok=True)
    _write(reports / "comparison.json", comparison)
    _write(reports / "metrics.json", _summary(comparison))
    _write(reports / "sweep.json", [_plot_row(point) for point in comparison["sweep"]])
    _write(reports / "losses.json", _losses(params, models))
    _write(reports / "chrf.json", chrf_histogram(read_lines(reports / "transformer" / "translations.jsonl")))


def chrf_histogram(translations: Sequence[Translated]) -> list[Bar]:
    """Sentences in each tenth of the chrF scale: ``[{"chrf": "0-10", "sentences": 3}, ...]``; 100 counts in the last."""
    if not translations:
        return []
    counts = [0] * 10
    for row in translations:
        counts[min(9, max(0, int(row["chrf"] // 10)))] += 1
    return [{"chrf": f"{10 * i}-{10 * i + 10}", "sentences": n} for i, n in enumerate(counts)]


def _checked_metrics(report: Path, model: Path, verb: str, leave_out: bool) -> Any:
    """The metrics in ``report`` or ``{}``. Those of another training or other data are refused or left out."""
    metrics = read_json(report / "metrics.json")
    data = identity.data_of(model.parent if model.name == "transformer" else model.parent.parent, verb)
    if leave_out:
        return {} if identity.stale(metrics, model, data) else metrics
    identity.check(metrics, report, model, data, f"stepladder evaluate {verb}")
    return metrics


def _failed(point: Point, floor: Mapping[str, float], limits: Promotion) -> str:
    return failed({name: value for name, value in point.items() if value is not None}, floor, limits)


def _judged(finished: Mapping[int, PictureMetrics], text: Figures) -> dict[str, Mapping[str, str | None] | None]:
    """For each model, which training, data and judge its figures belong to (``judgement.identity.judged``)."""
    of_text = {"transformer": text.get("judged")} if text else {}
    return {**{f"diffusion/T{t}": metrics.get("judged") for t, metrics in finished.items()}, **of_text}


def _failures(point: Recommended | None, entry: str, text: Figures, params: Params) -> dict[str, str]:
    """The reasons why the recommended point and the language model count as failed; empty where they do not."""
    reasons = {
        "recommended": point.get("failed", "") if point else "",
        entry: failed_text(text, params.promotion) if text else "",
    }
    return {name: why for name, why in reasons.items() if why}


def _floor(finished: Mapping[int, PictureMetrics]) -> Mapping[str, float]:
    floors = {t: metrics.get("floor") or {} for t, metrics in finished.items()}
    values = {t: floor["frechet"] for t, floor in floors.items() if "frechet" in floor}
    if values and not all(math.isclose(v, next(iter(values.values())), rel_tol=1e-3) for v in values.values()):
        pairs = ", ".join(f"{v:.4g} at T={t}" for t, v in values.items())
        raise UserError(
            f"The floor of the Fréchet distance differs between the T ({pairs}), so they were judged by different feature "
            "networks or data and cannot be compared; `dvc repro` evaluates them again."
        )
    return next((floor for floor in floors.values() if floor), {})


def _points(metrics: PictureMetrics) -> list[Point]:
    return sorted(metrics.get("points", []), key=lambda p: p["sampling_steps"])


def _with_floor_ratio(floor: Mapping[str, float], point: Point) -> Point:
    ratio = point["frechet"] / floor["frechet"] if floor.get("frechet") else None
    return {**point, "frechet_over_floor": ratio}


def _plot_row(point: Point) -> dict[str, object]:
    keys = {"timesteps": f"T={point['timesteps']}", "sampling_steps": point["sampling_steps"]}
    return keys | _present(point, PLOTTED)


def _present(values: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _feature_net(folder: Path) -> dict[str, float]:
    figures = history.training(folder).get("figures", {})
    return {"accuracy": figures["validation/accuracy"]} if "validation/accuracy" in figures else {}


def _summary(comparison: Comparison) -> dict[str, object]:
    """The figures that ``dvc metrics show`` and ``dvc exp show`` print: the best S of each T, and the translation's."""
    names = ("sampling_steps", "frechet", "frechet_over_floor", *(name for name in HEADLINES if name != "frechet"))
    nearest: dict[str, Point] = {}
    for point in comparison["sweep"]:
        name = f"T={point['timesteps']}"
        if name not in nearest or point["frechet"] < nearest[name]["frechet"]:
            nearest[name] = point
    best = {name: _present(point, names) for name, point in nearest.items()}
    for row in comparison["likelihood"]:
        best.setdefault(f"T={row['timesteps']}", {})["bits_per_dim"] = row["bits_per_dim"]
    entry, text = compared(comparison)
    of_splits = TASKS[name_of(text)].judging.of_splits if text else ()
    return {
        "feature_net": comparison["feature_net"],
        "diffusion": best,
        "recommended": _present(comparison["recommended"] or {}, ("timesteps", *names, "failed")),
        **{name: {k: text[k] for k in headlines(name) if k in text and name == entry} for name in ENTRIES},
        **({"failed": comparison["failed"]} if comparison["failed"] else {}),
        **{
            split: {k: figures[k] for k in of_splits or headlines(entry) if k in figures}
            for split, figures in text.get("splits", {}).items()
        },
    }


def _training(folder: Path) -> Training | None:
    figures = history.training(folder).get("figures")
    if figures is None:
        return None
    loss = figures.get("validation/loss", figures.get("train/loss"))
    return {"steps": figures.get("steps"), "parameters": figures.get("parameters"), "loss": loss}


def _losses(params: Params, models: Path) -> list[Loss]:
    return [
        {"model": folder if t is None else f"T={t}", "step": step, "loss": value, "split": split}
        for t, folder, lines in curves(params, models)
        for split in ("train", "validation")
        for step, value in series(lines, f"{split}/loss")
        if math.isfinite(value)
    ]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
