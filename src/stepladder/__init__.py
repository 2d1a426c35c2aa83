"""Reproducible training of Transformers and diffusion models, with the timestep sweep as its own subject.

As a library: ``import stepladder as sl``; ``dir(sl)`` lists the names, docs/library.md explains them. Heavy modules are imported
when they are first used.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

NAMES = (
    "Model", "Params", "Sampling", "build", "denoiser", "draw", "experiment", "judge", "load", "pictures", "process", "samplers",
    "schedule", "schedules", "train", "trajectory", "wrap",
)  # fmt: skip
"""Public names of ``library``."""

try:
    __version__ = version("stepladder")
except PackageNotFoundError:  # from a folder of the source alone
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    if name in NAMES:
        return getattr(import_module("stepladder.library"), name)
    raise AttributeError(f"module 'stepladder' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*NAMES, "__version__"]
