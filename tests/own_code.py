"""A module of someone's own, with one of each kind that parameters may name, in a project's folder."""

from pathlib import Path

HELPER = """def falling(u):
    return 1 - 0.999 * u
"""
MODULE = '''
import numpy as np
import torch
from torch import nn

from helper import falling
from stepladder.data.preparing.pictures import PictureSource, Pictures
from stepladder.diffusion.processes.process import ContinuousTime


def schedule(u):
    return falling(u)


def sampler(denoise, x, levels, noise, *, callback=None):
    alphas, sigmas = [*levels.alphas, 1.0], [*levels.sigmas, 0.0]
    for i in range(len(levels)):
        x_0 = denoise(x, i).x_0
        x = alphas[i + 1] * x_0 + sigmas[i + 1] * (x - alphas[i] * x_0) / sigmas[i]
        if callback is not None:
            callback(i, x, x_0)
    return x


class Process(ContinuousTime):
    """A quarter of a circle; the network predicts the velocity along it."""

    has_own_target = has_own_levels = True
    usual_sampler = "euler"

    def level_at(self, u):
        return np.cos(u * np.pi / 2), np.sin(u * np.pi / 2)

    def time_at(self, log_sigma):
        return np.arctan(np.exp(log_sigma)) * 2 / np.pi

    def target(self, x_0, eps, alpha, sigma):
        return alpha * eps - sigma * x_0

    def to_x0(self, output, x, alpha, sigma):
        return alpha * x - sigma * output

    def error_of_x0(self, snr):
        return 1 / (1 + snr)


class Network(nn.Module):
    def __init__(self, shape, classes, outputs):
        super().__init__()
        self.before = nn.Conv2d(shape[0] + 1, 8, 3, padding=1)
        self.label = nn.Embedding(classes + 1, 8)
        self.after = nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, x, time, condition):
        seen = torch.cat([x, time[:, None, None, None].expand(len(x), 1, *x.shape[2:])], dim=1)
        told = self.label(condition["labels"])[:, :, None, None]
        return self.after(torch.relu(self.before(seen) + told))


def source(images):
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    pictures = Pictures(len(grey), lambda i: Image.fromarray(grey[i]), [i % 3 for i in range(len(grey))])
    return PictureSource("noise", "drawn at random", "none needed", ["a", "b", "c"], {"train": pictures})
'''  # fmt: skip
NAMES = {
    "diffusion.schedule": "schedule",
    "sampling.sampler": "sampler",
    "diffusion.process": "Process",
    "diffusion.backbone": "Network",
    "images.source": "source",
}


def write(folder: Path, module: str = "mine", text: str = "") -> None:
    """Write ``module`` with one of each kind, and ``text``, to ``folder``, and ``helper``, which it imports."""
    (folder / "helper.py").write_text(HELPER, encoding="utf-8")
    (folder / f"{module}.py").write_text(MODULE + text, encoding="utf-8")


def given(key: str, value: str) -> dict[str, dict[str, str]]:
    """Parameters in which ``key`` is ``value``."""
    section, _, name = key.partition(".")
    return {section: {name: value}}
