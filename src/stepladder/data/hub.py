"""Hugging Face data sets by name: from the hub, or from a folder of downloaded data set repositories."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stepladder.errors import UserError

MIRROR = "STEPLADDER_MIRROR"


def load(name: str, config: str = "") -> Any:
    """The splits of data set ``name`` as a ``datasets.DatasetDict``.

    Where the environment's ``STEPLADDER_MIRROR`` names a folder, ``owner/name`` is looked up there as ``owner/name``, then
    as ``name``; where it does not, on the hub.

    Raises:
        UserError: there is no such data set or configuration, or neither mirror nor hub can be read.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    path = _mirrored(name)
    if path != name:
        os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        return datasets.load_dataset(path, config or None)
    except Exception as error:
        where = f"the mirror folder {path}" if path != name else "the hub"
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        shown = f"{name} (configuration {config})" if config else name
        raise UserError(
            f"Data set {shown} cannot be loaded from {where} ({reason}); give digits, names, a hub data set's full name, "
            f"a file or a folder; without a network, name a folder of downloaded data sets in {MIRROR}."
        ) from None


def _mirrored(name: str) -> str:
    folder = os.environ.get(MIRROR)
    if not folder:
        return name
    if not Path(folder).is_dir():
        raise UserError(f"{MIRROR}={folder} is not a folder; name one that holds data set repositories, or unset it.")
    for candidate in (Path(folder) / name, Path(folder) / name.split("/")[-1]):
        if candidate.is_dir():
            return str(candidate)
    there = ", ".join(sorted(p.name for p in Path(folder).iterdir() if p.is_dir()))
    raise UserError(f"Data set {name} is not in {MIRROR}={folder}, which has: {there or 'nothing'}.")
