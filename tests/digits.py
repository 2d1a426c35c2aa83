"""Real digits, prepared once a session, and models of them that take seconds."""

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from stepladder.data.preparing.images import prepare
from stepladder.params import Params, build
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch


def params(**sections: Any) -> Params:
    """A small UNet, few steps; ``sections`` on top."""
    small = {
        "diffusion": {
            "unet": {"channels": 8, "channel_mult": [1, 2], "blocks": 1, "heads": 2},
            "training": {"batch_size": 32},
        },
        "feature_net": {"width": 16, "features": 32, "batch_size": 64},
    }
    for name, section in sections.items():
        small[name] = {**small.get(name, {}), **section} if isinstance(section, dict) else section
    return build(small)


@functools.cache
def prepared() -> Path:
    """Folder of the prepared digits, gone when the tests end."""
    temporary = tempfile.mkdtemp(prefix="digits-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    folder = Path(temporary) / "images"
    prepare(params(), folder)
    return folder


def without_classes(folder: Path) -> Path:
    """The digits in ``folder``, as if they had no classes."""
    shutil.copytree(prepared(), folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"classes": []}))
    for split in ("train", "test"):
        file = folder / f"{split}_labels.npy"
        np.save(file, np.full_like(np.load(file), -1))
    return folder


def log_nothing(experiment: Experiment) -> dict[str, list[float]]:
    """Takes the place of the trainer's log; returns where logged values go."""
    logged: dict[str, list[float]] = {}
    experiment.task.log = lambda name, value, **_: logged.setdefault(name, []).append(float(value.detach()))  # type: ignore[method-assign]
    return logged


def trained(experiment: Experiment, steps: int, learning_rate: float = 3e-3) -> Experiment:
    """After ``steps`` of Adam, by a plain loop."""
    log_nothing(experiment)
    task = experiment.task.train()
    optimizer = torch.optim.Adam(task.parameters(), lr=learning_rate)
    for k in range(steps):
        optimizer.zero_grad()
        loss(experiment, experiment.draw(k)).backward()
        optimizer.step()
    task.eval()
    return experiment


def loss(experiment: Experiment, batch: Batch) -> torch.Tensor:
    return experiment.task.training_step(batch, 0)  # type: ignore[return-value]


def save(experiment: Experiment, folder: Path) -> Path:
    """The model as training leaves it."""
    folder.mkdir(parents=True)
    weights = experiment.task.model.state_dict()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(experiment.task.description.to_json())
    return folder
