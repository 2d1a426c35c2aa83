"""Gathers what the sweep and the translation gave: one table, one recommendation, the figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepladder.errors import UserError
from stepladder.params import Params
from stepladder.reporting.recommendation import Point, recommend

PLOTTED = (
    "frechet", "frechet_low", "frechet_high", "frechet_over_floor", "kid", "kid_low", "kid_high",
    "accuracy", "accuracy_low", "accuracy_high", "precision", "precision_low", "precision_high",
    "recall", "recall_low", "recall_high", "density", "density_low", "density_high",
    "coverage", "coverage_low", "coverage_high", "memorised", "nearest_ratio",
    "milliseconds_per_image", "network_evaluations", "images",
)  # fmt: skip
FIGURES = ("seconds", "steps", "parameters")


def compare(params: Params, models: Path, reports: Path) -> dict[str, Any]:
    """Compare all that ``reports`` and ``models`` hold for the T of ``params.sweep``, write it and return it.

    Written in ``reports``: ``comparison.json`` (what is returned), ``figures/*.png``, for ``dvc metrics`` the few
    figures of ``metrics.json``, and for ``dvc plots`` the long tables
    ``sweep.json`` (a row each (T, S)), ``losses.json`` (a row each journalled loss) and ``chrf.json`` (sentences a class of
    chrF). The recommendation is that of ``recommendation.recommend``. A T that has not been evaluated is named in
    ``"missing"``; so is a language model, by its absence. Raises ``UserError`` where nothing at all has been evaluated, a file
    cannot be read, or the T were judged by different feature networks.
    """
    evaluated = {t: read_json(reports / "diffusion" / f"T{t}" / "metrics.json") for t in sorted(params.sweep.timesteps)}
    finished = {t: metrics for t, metrics in evaluated.items() if metrics}
    text = read_json(reports / "transformer" / "metrics.json")
    pairs = text.get("task", "pairs") == "pairs"
    if not finished and not text:
        raise UserError(
            f"{reports} holds no evaluation of T={', '.join(map(str, evaluated))} nor of a language model; "
            "run `dvc repro`, or `stepladder evaluate`, first."
        )
    floor = _floor(finished)
    sweep = [_against(floor, point) for metrics in finished.values() for point in _points(metrics)]
    comparison = {
        "sweep": sweep,
        "missing": [t for t in evaluated if t not in finished],
        "floor": floor,
        "protocol": next((metrics["protocol"] for metrics in finished.values() if "protocol" in metrics), {}),
        "likelihood": [
            {"timesteps": t, **metrics["likelihood"]} for t, metrics in finished.items() if metrics.get("likelihood")
        ],
        "recommended": recommend(sweep, floor.get("frechet"), params.evaluation.confidence),
        "confidence": params.evaluation.confidence,
        "training": [
            {"timesteps": t, **row} for t in evaluated if (row := _training(models / "diffusion" / f"T{t}")) is not None
        ],
        "feature_net": _feature_net(models / "feature-net"),
        "translation": text if pairs else {},
        "language_model": {} if pairs else text,
        "translation_training": _training(models / "transformer"),
    }
    reports.mkdir(parents=True, exist_ok=True)
    _write(reports / "comparison.json", comparison)
    _write(reports / "metrics.json", _summary(comparison))
    _write(reports / "sweep.json", [_row(point) for point in sweep])
    _write(reports / "losses.json", _losses(params, models))
    _write(reports / "chrf.json", chrf_histogram(read_lines(reports / "transformer" / "translations.jsonl")))

    from stepladder.reporting import figures  # matplotlib takes a second to load

    figures.draw(comparison, params, models, reports)
    return comparison


def read_json(path: Path) -> Any:
    """What ``path`` holds, ``{}`` where it does not exist; raises ``UserError`` where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); remove it and run its stage again with `dvc repro`.") from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file, none where it does not exist; a line cut off by a kill is passed over."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)]


def journals(params: Params, models: Path) -> Iterator[tuple[int | None, str, list[dict[str, Any]]]]:
    """(T or ``None``, the model's folder in ``models``, lines of its journal) of every model that has a journal."""
    folders = [(t, f"diffusion/T{t}") for t in sorted(params.sweep.timesteps)]
    for timesteps, folder in [*folders, (None, "transformer"), (None, "feature-net")]:
        if lines := read_lines(models / folder / "journal.jsonl"):
            yield timesteps, folder, lines


def series(lines: list[dict[str, Any]], metric: str) -> list[tuple[int, float]]:
    """(step, value) of one metric of a journal, in the order written."""
    return [(line["step"], line["metrics"][metric]) for line in lines if metric in line.get("metrics", {})]


def chrf_histogram(translations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sentences in each tenth of the chrF scale: ``[{"chrf": "0-10", "sentences": 3}, ...]``; 100 counts in the last."""
    if not translations:
        return []
    counts = [0] * 10
    for row in translations:
        counts[min(9, max(0, int(row["chrf"] // 10)))] += 1
    return [{"chrf": f"{10 * i}-{10 * i + 10}", "sentences": n} for i, n in enumerate(counts)]


def _floor(finished: dict[int, Any]) -> dict[str, float]:
    floors = {t: metrics.get("floor") or {} for t, metrics in finished.items()}
    values = {t: floor["frechet"] for t, floor in floors.items() if "frechet" in floor}
    if values and not all(math.isclose(v, next(iter(values.values())), rel_tol=1e-3) for v in values.values()):
        shown = ", ".join(f"{v:.4g} at T={t}" for t, v in values.items())
        raise UserError(
            f"The floor of the Fréchet distance differs between the T ({shown}), so they were judged by different feature "
            "networks or data and cannot be compared; `dvc repro` evaluates them again."
        )
    return next((floor for floor in floors.values() if floor), {})


def _points(metrics: dict[str, Any]) -> list[Point]:
    return sorted(metrics.get("points", []), key=lambda p: p["sampling_steps"])


def _against(floor: dict[str, float], point: Point) -> Point:
    ratio = point["frechet"] / floor["frechet"] if floor.get("frechet") else None
    return {**point, "frechet_over_floor": ratio}


def _row(point: Point) -> dict[str, Any]:
    keys = {"timesteps": f"T={point['timesteps']}", "sampling_steps": point["sampling_steps"]}
    return keys | {name: point[name] for name in PLOTTED if point.get(name) is not None}


def _feature_net(folder: Path) -> dict[str, float]:
    figures = read_json(folder / "run.json").get("figures", {})
    return {"accuracy": figures["validation/accuracy"]} if "validation/accuracy" in figures else {}


def _summary(comparison: dict[str, Any]) -> dict[str, Any]:
    """The figures that ``dvc metrics show`` and ``dvc exp show`` print: the best S of each T, and the translation's."""
    shown = ("sampling_steps", "frechet", "frechet_over_floor", "kid", "accuracy", "precision", "recall")
    best: dict[str, Any] = {}
    for point in comparison["sweep"]:
        name = f"T={point['timesteps']}"
        if name not in best or point["frechet"] < best[name]["frechet"]:
            best[name] = {key: point[key] for key in shown if point.get(key) is not None}
    for row in comparison["likelihood"]:
        best.setdefault(f"T={row['timesteps']}", {})["bits_per_dim"] = row["bits_per_dim"]
    recommended = comparison["recommended"] or {}
    translation, language_model = comparison["translation"] or {}, comparison["language_model"]
    language_names = ("bits_per_character", "perplexity", "loss", "accuracy", "macro_f1")
    return {
        "feature_net": comparison["feature_net"],
        "diffusion": best,
        "recommended": {key: recommended[key] for key in ("timesteps", *shown) if recommended.get(key) is not None},
        "translation": {
            k: translation[k]
            for k in ("chrf", "bleu", "ter", "bleu_lowercased_tokenised", "rougel", "exact_match", "perplexity")
            if k in translation
        },
        "language_model": {k: language_model[k] for k in language_names if k in language_model},
        **{
            split: {
                k: figures[k] for k in ("chrf", "bleu", "bleu_lowercased_tokenised", *language_names) if k in figures
            }
            for split, figures in (translation or language_model).get("splits", {}).items()
        },
    }


def _training(folder: Path) -> dict[str, Any] | None:
    run = read_json(folder / "run.json")
    if not run:
        return None
    figures = run.get("figures", {})
    row = {name: figures.get(name) for name in FIGURES}
    row["loss"] = figures.get("validation/loss", figures.get("train/loss"))
    return row | {name: run.get(name) for name in ("run_id", "experiment_id", "parent_run_id", "git_commit")}


def _losses(params: Params, models: Path) -> list[dict[str, Any]]:
    return [
        {"model": folder if t is None else f"T={t}", "step": step, "loss": value, "split": split}
        for t, folder, lines in journals(params, models)
        for split in ("train", "validation")
        for step, value in series(lines, f"{split}/loss")
        if math.isfinite(value)
    ]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
