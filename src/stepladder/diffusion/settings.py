"""What a model's configuration says of its process; what folders made before a key existed mean by its absence."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "process": "discrete",
    "log_snr": [],
    "betas": [],
    "zero_terminal_snr": False,
    "variance": "fixed",
}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with every key of ``DEFAULTS``."""
    return DEFAULTS | config
