"""Cells of studies with figures chosen by the test, in the current folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from stepladder.params import Params, Sampling, render

QUESTION = "Is <b>bold</b> better than plain & simple?"
PROTOCOL = {
    "confidence": 0.95, "bootstrap": 50, "samples": 100, "held_out": 90, "training": 400,
    "features": "this data's feature network", "preprocessing": "none",
}  # fmt: skip
FLOOR = {"frechet": 0.2, "coverage": 0.9}


def project(folder: Path) -> None:
    (folder / "params.yaml").write_text(render(Params()))


def study(folder: Path, name: str = "made", **changes: Any) -> dict[str, Any]:
    """Write and return ``study.yaml``: two diffusion arms and a GAN, drawn at two S."""
    values: dict[str, Any] = {
        "question": QUESTION,
        "seeds": [0, 1, 2],
        "measures": ["frechet", "accuracy"],
        "samplings": [{"sampler": "ddim", "steps": [5, 10]}],
        "arms": {
            "small": {"timesteps": 10},
            "large": {"timesteps": 50, "set": {"diffusion.unet.channels": 32}},
            "gan": {"family": "gan"},
        },
    } | changes
    place = folder / "studies" / name
    place.mkdir(parents=True, exist_ok=True)
    (place / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return values


def cell(folder: Path, arm: str, seed: int, frechet: dict[int, float | None], name: str = "made", **more: Any) -> None:
    """Write a cell whose Frechet distance at S is ``frechet[S]``; at S = 0 it is of a model that draws in one pass."""
    place = folder / "studies" / name / "cells" / f"{arm}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    points = []
    for steps, value in frechet.items():
        sampling = Sampling(sampler="ddim").model_dump(mode="json") if steps else None
        strip = f"S{steps}.png"
        Image.new("L", (40, 16), 40 * seed).save(place / strip)
        point: dict[str, Any] = {"sampling": sampling, "steps": steps or 1, "strip": strip}
        if value is not None:
            point |= {
                "frechet": value,
                "frechet_low": 0.9 * value,
                "frechet_high": 1.1 * value,
                "accuracy": 0.95,
                "coverage": 0.8,
            }
        points.append(
            point | {"network_evaluations": max(steps, 1), "milliseconds_per_image": 0.5 * max(steps, 1)} | more
        )
    metrics = {
        "study": name, "arm": arm, "seed": seed, "family": "gan" if 0 in frechet else "diffusion", "timesteps": 50,
        "points": points, "bits_per_dim": None, "training": {"seconds": 10.0 + seed, "parameters": 1000},
        "timing": {"at_once": 2, "threads": 1, "device": "CPU"}, "run": {}, "floor": FLOOR, "protocol": PROTOCOL,
    }  # fmt: skip
    (place / "metrics.json").write_text(json.dumps(metrics))


def fail(folder: Path, arm: str, seed: int, why: str, name: str = "made") -> None:
    """Leave of a cell what a training that failed leaves."""
    place = folder / "studies" / name / "cells" / f"{arm}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / "failed.json").write_text(json.dumps({"why": why}))


def whole(folder: Path) -> None:
    """All cells of ``study()``: large is better than small at every seed, and as good at S=5 as at S=10; the GAN varies."""
    for seed, shift in enumerate((0.0, 0.01, -0.01)):
        cell(folder, "small", seed, {5: 0.6 + shift, 10: 0.5 + shift})
        cell(folder, "large", seed, {5: 0.302 + shift, 10: 0.3 + shift})
        cell(folder, "gan", seed, {0: (0.4, 0.9, 5.0)[seed]})
