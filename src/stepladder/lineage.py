"""The lineage of a training, kept in ``origin/`` next to its journal: enough to repeat it later.

``params.yaml`` has all parameters; ``code.diff`` the uncommitted changes; ``dvc.lock`` the data; ``environment.json`` and
``packages.txt`` the machine and packages. Commit, data hash and flow run are in the journal's header. The folder goes with the
model, and to its MLflow run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import runpy
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from stepladder import plugins, project
from stepladder.params import Params, flatten, render

FOLDER = "origin"
PARAMS, DIFF, LOCK, ENVIRONMENT, PACKAGES = "params.yaml", "code.diff", "dvc.lock", "environment.json", "packages.txt"
ANEW = "origin-anew"  # of a training that resumes: used if the worker has to start over
FLOW_RUN = "PREFECT__FLOW_RUN_ID"  # set by Prefect in the processes of a run


def capture(folder: Path, params: Params) -> None:
    """Write to ``folder`` the parameters, changes and lock of the training that is about to start."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARAMS).write_text(render(params), encoding="utf-8")
    (folder / DIFF).unlink(missing_ok=True)
    if changes := project.git_diff(plugins.files(plugins.named(flatten(params))).values()):
        (folder / DIFF).write_bytes(changes)
    lock = next((file for file in (Path(LOCK), project.root() / LOCK) if file.exists()), None)
    if lock is not None:
        shutil.copyfile(lock, folder / LOCK)


def capture_environment(folder: Path) -> None:
    """Write to ``folder`` the environment of this process, which must be the training's process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENVIRONMENT).write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    (folder / PACKAGES).write_text("".join(f"{pin}\n" for pin in sorted(_pins(), key=str.lower)), encoding="utf-8")


def versions() -> dict[str, str]:
    """The installed versions; torch's is read from a file, since its import takes seconds."""
    known = {"python": platform.python_version(), "torch": "none", "lightning": "none", "cuda": "none", "numpy": "none"}
    for name, distribution in (("lightning", "pytorch-lightning"), ("numpy", "numpy")):
        with suppress(metadata.PackageNotFoundError):
            known[name] = metadata.version(distribution)
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin:
        torch_version = runpy.run_path(str(Path(spec.origin).with_name("version.py")))
        known |= {"torch": str(torch_version["__version__"]), "cuda": str(torch_version.get("cuda") or "none")}
    return known


def deciding() -> dict[str, str]:
    """What must be equal to resume from a checkpoint of this process: versions, and the kind of device."""
    import torch

    return versions() | {
        "torch": str(torch.__version__),  # it is of a class that a checkpoint cannot hold
        "cuda": torch.version.cuda or "none",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def differences(made: Mapping[str, object] | None, now: Mapping[str, str]) -> str:
    """How ``made`` differs from ``now``: ``torch 2.12.0 (here 2.13.0)``; empty: it does not. ``made`` is ``None`` if unknown."""
    if not made:
        return "versions that were not recorded"
    return ", ".join(
        f"{name} {made.get(name) or 'of an unknown version'} (here {value})"
        for name, value in now.items()
        if str(made.get(name)) != value
    )


def environment() -> dict[str, str | int]:
    """What the last bits of a training's result depend on, apart from code, data and parameters."""
    import torch

    return {
        **deciding(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "world_size": int(os.environ.get("WORLD_SIZE", 1)),
    }


def _pins() -> set[str]:
    """NAME==VERSION of all installed packages; only the top of the metadata, which is long, is parsed."""
    pins = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        top = dict(line.split(": ", 1) for line in text.partition("\n\n")[0].splitlines() if ": " in line)
        if "Name" in top:
            pins.add(f"{top['Name']}=={top.get('Version')}")
    return pins


def recorded(client: Any, run_id: str, file: str) -> str:
    """The text of a lineage file of an MLflow run, "" where it has none."""
    name = f"{FOLDER}/{file}"
    if not any(artifact.path == name for artifact in client.list_artifacts(run_id, FOLDER)):
        return ""
    with tempfile.TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, name, temporary)).read_text(encoding="utf-8")


def flow_run() -> str:
    """Id of the Prefect flow run that this process belongs to, "" for none."""
    return os.environ.get(FLOW_RUN, "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
