"""The folders where the stages of ``dvc.yaml`` put data, models and reports."""

from __future__ import annotations

from pathlib import Path

IMAGES, TEXT, OWN = Path("data/images"), Path("data/text"), Path("data/own")
DATA = {"images": IMAGES, "text": TEXT, "own": OWN}
MODELS, REPORTS = Path("models"), Path("reports")
FEATURE_NET, TRANSFORMER = MODELS / "feature-net", MODELS / "transformer"
BASELINES = ("vae", "gan")
NOISY_CLASSIFIER, ADAPTED = MODELS / "noisy-classifier", MODELS / "adapted"
CLASSIFICATION = MODELS / "classification"
STARTS = ("pretrained", "scratch")


def diffusion(timesteps: int) -> Path:
    """The folder of the model with T = ``timesteps``."""
    return MODELS / "diffusion" / f"T{timesteps}"
