"""Descriptions for tests, of the few keys that matter to them."""

from typing import Any

from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.settings import ProcessDescription


def described(keys: dict[str, Any]) -> ProcessDescription:
    """What ``keys`` say of a process; the schedule is cosine where they name none."""
    return ProcessDescription.model_validate({"schedule": "cosine"} | keys)


def described_model(keys: dict[str, Any]) -> DiffusionDescription:
    """Of a model that knows nothing but what ``keys`` say, and whose network is one's own, for pictures of 8x8."""
    usual = {"schedule": "cosine", "prediction": "v", "timesteps": 10, "classes": (), "label_dropout": 0.0}
    model = {"backbone": "own", "shape": (1, 8, 8)} | keys.get("model", {})
    return DiffusionDescription.model_validate(usual | keys | {"model": model})


def changed(description: DiffusionDescription, **keys: Any) -> DiffusionDescription:
    """``description`` with other ``keys``."""
    return description.model_copy(update=keys)
