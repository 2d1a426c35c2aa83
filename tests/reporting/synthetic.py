"""A made-up project's ``models``, ``reports`` and ``data``: every figure below is invented for the tests."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stepladder import history
from stepladder.params import Params, build
from tests import kept

PARAMS: Params = build(
    {"sweep": {"timesteps": [10, 50, 200, 1000], "sampling_steps": [1, 2, 3, 5, 10, 20, 50, 100]}, "seed": 3}
)
FLOOR = 0.31
START = 1_780_000_000.0


def point(timesteps: int, steps: int, frechet: float, accuracy: float | None = 0.98, **more: Any) -> dict[str, Any]:
    judged = {} if accuracy is None else {
        "accuracy": accuracy, "accuracy_low": accuracy - 0.01, "accuracy_high": min(1.0, accuracy + 0.01)
    }  # fmt: skip
    return {
        "timesteps": timesteps, "sampling_steps": steps,
        "frechet": frechet, "frechet_low": frechet * 0.9, "frechet_high": frechet * 1.12,
        "kid": frechet / 40 - 0.009, "kid_low": frechet / 46 - 0.012, "kid_high": frechet / 35 - 0.005,
        **_interval("precision", 0.95 - 0.1 * frechet), **_interval("recall", 0.9 - 0.2 * frechet),
        **_interval("density", 1.3 - 0.1 * frechet), **_interval("coverage", 0.99 - 0.15 * frechet),
        **_interval("memorised", 0.012), **_interval("nearest_ratio", 1.05 - 0.02 * frechet),
        "sampler": "ancestral", "spacing": "trailing", "variance": "fixed_small", "guidance_scale": 1.0,
        "milliseconds_per_image": 0.4 + 0.55 * steps, "network_evaluations": float(steps), "images": 720, **judged, **more,
    }  # fmt: skip


def _interval(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}


def likelihood(timesteps: int) -> dict[str, Any]:
    times = [(t + 1) / timesteps for t in range(timesteps)]
    fraction = [0.5 - 0.3 * u for u in times[:32]] if timesteps == 50 else None
    by_time = {
        "times": times[:32],
        "error": [0.1 + 0.5 * math.exp(-9 * u) for u in times[:32]],
        "fraction": fraction,
        "images": 64,
    }
    terms = [2.0, *(2.5 / (timesteps - 1) for _ in times[1:])]
    return {"bits_per_dim": 4.5, "bits_per_dim_low": 4.4, "bits_per_dim_high": 4.6, "steps": timesteps, "images": 64,
            "variance": "fixed_small", "prior": 1e-4, "terms": terms, "times": times, "by_time": by_time}  # fmt: skip


def project(folder: Path, params: Params = PARAMS, *, unfinished: tuple[int, ...] = ()) -> tuple[Path, Path]:
    """Write a whole made-up project in ``folder``; returns (models, reports)."""
    models, reports = folder / "models", folder / "reports"
    for timesteps in params.sweep.timesteps:
        if timesteps not in unfinished:
            _diffusion(models, reports, params, timesteps)
    _transformer(models, reports)
    _json(models / "feature-net" / "metrics.json", {"accuracy": 0.986})
    history.write(reports / "registered.json", REGISTERED, history.REGISTRATION)
    _json(folder / "data" / "images" / "card.json", IMAGES)
    _json(folder / "data" / "text" / "card.json", TEXT)
    return models, reports


def _diffusion(models: Path, reports: Path, params: Params, timesteps: int) -> None:
    rng = np.random.default_rng(timesteps)
    points = []
    folder = reports / "diffusion" / f"T{timesteps}"
    folder.mkdir(parents=True)
    for steps in (s for s in params.sweep.sampling_steps if s <= timesteps):
        excess = 0.2 + 14 / steps**1.6 + 4 / timesteps + 0.1 * math.log10(timesteps) + 0.05 * rng.random()
        accuracy = 0.987 - 0.3 / steps**1.4 - 0.2 / timesteps
        points.append(point(timesteps, steps, FLOOR * (1 + excess), accuracy))
        noise = rng.integers(0, 256, (4 * 8, 10 * 8), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"samples-S{steps}.png")
    best = min(points, key=lambda p: p["frechet"])
    floor = {
        "frechet": FLOOR,
        "kid": 0.0004,
        "precision": 0.9,
        "recall": 0.91,
        "density": 1.0,
        "coverage": 0.99,
        "images": 720,
    }
    protocol = {
        "samples": 720, "held_out": 359, "training": 1438, "features": "this data's feature network", "seed": 3,
        "preprocessing": "drawn pictures rounded to uint8, as the real ones are, then scaled to [-1, 1]", "floor": floor,
        "neighbours": {"precision_recall": 3, "density_coverage": 5}, "memorised_below": 21.5, "memorised_percentile": 1.0,
        "bootstrap": 200, "confidence": 0.95, "note": "155 train and 34 test rows of the source come from JPEG copies",
    }  # fmt: skip
    found = {"floor": floor, "protocol": protocol, "best": best, "points": points, "likelihood": likelihood(timesteps)}
    history.write(folder / "metrics.json", {"timesteps": timesteps, **found})
    _model(models / "diffusion" / f"T{timesteps}", f"{timesteps:032x}", 0.08 + 0.6 / timesteps, timesteps)


def _transformer(models: Path, reports: Path) -> None:
    folder = reports / "transformer"
    _model(models / "transformer", "f" * 32, 1.9, None)
    history.write(folder / "metrics.json", {
        "bleu": 41.2, "chrf": 59.3, "chrf_low": 57.9, "chrf_high": 60.6, "exact_match": 0.352, "perplexity": 6.2,
        "sentences_per_second": 310.5, "sentences": 1500, "copy": {"bleu": 0.1, "chrf": 0.2, "exact_match": 0.0},
        "signatures": {"bleu": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0",
                       "chrf": "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0"},
    })  # fmt: skip
    rows = [row for row in TRANSLATIONS for _ in range(3)]
    lines = (json.dumps(dict(zip(("source", "reference", "translation", "chrf"), r, strict=True))) for r in rows)
    (folder / "translations.jsonl").write_text("\n".join(lines) + "\n")
    source = ["<uk>", "▁North", "ern", "▁Ma", "ri", "ana", "▁Is", "lands", "</s>"]
    target = ["▁Пів", "нічні", "▁Ма", "рі", "ан", "ські", "▁о", "стро", "ви", "</s>"]
    _json(folder / "attention.json", {
        "maps": {"encoder": _map(source, source), "cross": _map(target, source)},
        "entropy": {"encoder": [[1.0, 0.4], [0.5, 0.2]], "cross": [[0.9, 0.1], [0.3, 0.2]]},
        "positions": np.random.default_rng(0).random((8, 6)).tolist(),
    })  # fmt: skip


def _map(rows: list[str], columns: list[str]) -> dict[str, Any]:
    weights = np.random.default_rng(0).dirichlet(np.full(len(columns), 0.3), (2, 4, len(rows)))
    return {"rows": rows, "columns": columns, "weights": weights.tolist()}


def _model(folder: Path, run_id: str, level: float, timesteps: int | None) -> None:
    rng = np.random.default_rng(timesteps or 0)
    run = {
        "run_id": run_id,
        "parent_run_id": "a" * 32,
        "experiment_id": "1",
        "tracking_uri": "sqlite:////x/mlruns/mlflow.db",
    }
    figures = {
        "train/loss": level,
        "validation/loss": 1.1 * level,
        "seconds": 38.2 + level,
        "steps": 800,
        "parameters": 441_217,
    }
    name = "names" if timesteps is None else "digits"
    header = {"experiment": f"x-{name}", "data": {"name": name, "content_hash": "d" * 64}, "git_dirty": True, "key": run_id[-16:],
              "git_commit": "34f6245d0c9e9d1b6a3c5d2f7e8a9b0c1d2e3f40", "started": START, "environment": {"device": "cpu"}, "world_size": 1}  # fmt: skip
    lines: list[dict[str, Any]] = []
    for step in range(10, 801, 10):
        value = level * (1 + 12 * math.exp(-step / 60)) * (1 + 0.1 * rng.standard_normal())
        lines.append({"step": step, "time": START + step / 20, "metrics": {"train/loss": abs(value)}})
        if step % 200 == 0:
            loss = level * (1.1 + 6 * math.exp(-step / 80))
            lines.append({"step": step, "time": START + step / 20, "metrics": {"validation/loss": loss}})
    kept.keep(folder, header, lines, run=run, figures=figures)


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


TRANSLATIONS = [
    ("Northern Mariana Islands", "Північні Маріанські острови", "Північні Маріанські острови", 100.0),
    ("Unified Canadian Aboriginal Syllabics", "уніфіковане канадське силабічне письмо", "уніфіковане канадське силабічне письмо", 100.0),
    ("Kiribati", "Кірибаті", "Кірібаті", 71.3),
    ("Bosnia and Herzegovina", "Боснія і Герцеговина", "Боснія та Герцеговина", 88.1),
    ("Old Norse", "давньоскандинавська", "стара норвезька", 17.9),
    ("Turkish Lira", "Турецька ліра", "Турецька ліра", 100.0),
    ("Wallis and Futuna", "Уолліс і Футуна", "Валліс та Футуна", 54.4),
    ("<script>alert(1)</script>", "Буркіна-Фасо", "<img src=x onerror=alert(2)> & \"q\"", 2.1),
    ("Special drawing rights", "Спеціальні права запозичення", "Спеціальна малюнкова права", 40.6),
    ("Plateau", "Плато", "Платеу", 48.0),
    ("Southern Sotho", "південна сото", "південна сото", 100.0),
    ("Gulf Arabic", "арабська (Перська затока)", "гульф арабська", 31.0),
]  # fmt: skip
IMAGES = {
    "kind": "images", "name": "digits", "source": "scikit-learn digits (UCI optdigits)", "licence": "CC BY 4.0",
    "counts": {"train": 1437, "test": 360}, "shape": [1, 8, 8], "classes": [str(i) for i in range(10)],
    "set_aside": {"count": 0, "rows": []}, "content_hash": "d" * 64,
}  # fmt: skip
TEXT = {
    "kind": "text", "name": "names", "source": "pycountry 26.2", "licence": "LGPL 2.1", "languages": {"source": "en", "targets": ["uk"]},
    "counts": {"train": 12000, "validation": 1500, "test": 1500}, "tokenizer": "bpe", "vocab_size": 600,
    "set_aside": {"count": 2, "rows": [{"split": "train", "row": 17, "reason": "empty target"}]}, "content_hash": "e" * 64,
}  # fmt: skip
REGISTERED = {
    "tracking_uri": "sqlite:////x/mlruns/mlflow.db",
    "models": [
        {"name": "diffusion-digits", "version": "3", "aliases": ["challenger", "champion"], "run_id": "c8" * 16,
         "figure": {"name": "frechet", "value": 0.412}, "why": "Better than version 2 (0.43) on the same data."},
        {"name": "transformer-names", "version": "1", "aliases": ["challenger", "champion"], "run_id": "f" * 32,
         "figure": {"name": "chrf", "value": 59.3}, "why": "The first of its name."},
    ],
}  # fmt: skip
