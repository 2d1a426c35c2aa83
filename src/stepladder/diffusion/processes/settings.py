"""What a model's configuration says of its process; what folders made before a key existed mean by its absence."""

from __future__ import annotations

from typing import Any

BESIDE = "noisy-classifier"  # the folder, in a registered model's own, of the classifier that guides it
DEFAULTS: dict[str, Any] = {
    "process": "discrete",
    "log_snr": [],
    "betas": [],
    "zero_terminal_snr": False,
    "variance": "fixed",
    "sigma_data": 0.5,
}


LEAST_SIGMA_DATA = 0.01  # of pictures of one colour: the preconditioning divides by it


def sigma_data(card: dict[str, Any]) -> float:
    """Standard deviation of the data of ``card``, as a model of it is configured; cards from before it was kept: 0.5."""
    return max(float(card.get("sigma_data", DEFAULTS["sigma_data"])), LEAST_SIGMA_DATA)


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with every key of ``DEFAULTS``."""
    return DEFAULTS | config
