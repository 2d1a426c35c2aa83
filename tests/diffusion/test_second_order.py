"""No sampler of second order draws noise from a good model, whatever the process, the spacing and the number of steps."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.processes.levels import MOST_NOISE
from stepladder.diffusion.processes.processes import EDM, process_of
from stepladder.diffusion.processes.schedules import of_description
from stepladder.diffusion.processes.spacing import LOG_SIGMAS, SPACINGS
from stepladder.diffusion.samplers.heun import heun
from stepladder.diffusion.samplers.sampler import Denoised
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.diffusion.sampling.drawing import draw
from stepladder.params import Sampling
from tests.describing import described, described_model

SIDE, DRAWN = 4, 16
STD, ERROR = 0.05, 0.05
ROUND = torch.Generator().manual_seed(0)
MODES = 0.8 * (2 * torch.randint(2, (8, 1, SIDE, SIDE), generator=ROUND).double() - 1)
WAVES = torch.randn(SIDE**2, SIDE**2, generator=ROUND)


class Good(nn.Module):
    """The best network for eight normal modes, but for a smooth error of ``ERROR`` (rms) in what it predicts."""

    def __init__(self, config: DiffusionDescription) -> None:
        super().__init__()
        self.config, self.device = config, nn.Parameter(torch.zeros(()))
        signal = of_description(config).alphas_cumprod if config.process == "discrete" else np.ones(1)
        self.table = np.sqrt(signal), np.sqrt(1 - signal)

    def level(self, u: float) -> tuple[float, float]:
        if self.config.process == "discrete":
            t = round(u * self.config.timesteps) - 1
            return float(self.table[0][t]), float(self.table[1][t])
        alpha, sigma = process_of(self.config).level_at(np.array([u]))
        return float(alpha[0]), float(sigma[0])

    def forward(self, seen: Tensor, time: Tensor, condition: object) -> Tensor:
        u, process = float(time[0]), self.config.process
        alpha, sigma = self.level(u)
        scale = (sigma**2 + self.config.sigma_data**2) ** 0.5 if process == "edm" else 1.0
        x = seen.double() * scale
        variance = (alpha * STD) ** 2 + sigma**2
        apart = x[:, None] - alpha * MODES
        share = torch.softmax(-apart.square().flatten(2).sum(2) / (2 * variance), 1)
        x_0 = (share[..., None, None, None] * (MODES + alpha * STD**2 / variance * apart)).sum(1)
        eps = (x - alpha * x_0) / sigma
        wrong = torch.sin(2 * seen.flatten(1) @ WAVES + 7 * u + torch.arange(SIDE**2)).view_as(seen)
        exact = process_of(self.config).target(x_0, eps, alpha, sigma)
        return (exact + ERROR * 2**0.5 * wrong).float()


def config(
    process: str, prediction: str = "v", schedule: str = "cosine", timesteps: int = 1000, zero: bool = False
) -> Any:
    return described_model({
        "model": {"shape": (1, SIDE, SIDE)}, "classes": [], "label_dropout": 0.0, "process": process,
        "prediction": prediction, "schedule": schedule, "timesteps": timesteps, "zero_terminal_snr": zero,
    })  # fmt: skip


CONFIGS = [
    *(config("discrete", p, s, t, zero) for p, s, t, zero in itertools.product(
        ("v", "eps", "x0"), ("cosine", "linear", "laplace"), (10, 1000), (False, True)) if not (zero and p == "eps")),
    *(config("continuous", p) for p in ("v", "eps", "x0")),
    config("edm"), config("flow"),
]  # fmt: skip


def off(model: Good, steps: int, **how: Any) -> float:
    """Root mean square distance of pictures to the nearest mode: 0.05 of data, 1.03 of clipped noise."""
    labels = torch.zeros(DRAWN, dtype=torch.int64)
    pictures = draw(model, model.config, {"labels": labels}, steps, Sampling(**how)).double()
    return float((pictures[:, None] - MODES).square().flatten(2).mean(2).min(1).values.mean() ** 0.5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:diffusion")
@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "not clipped"])
@pytest.mark.parametrize("sampler", [name for name, sampler in SAMPLERS.items() if (sampler.order or 0) > 1])
def test_a_good_model_draws_data_wherever_the_first_order_does(sampler, clip):
    """Within twice the distance of DDIM at the same levels, or a quarter of that of noise."""
    noise = []
    for given in CONFIGS:
        model = Good(given)
        for spacing, steps in itertools.product(SPACINGS, (3, 10, 40)):
            if steps <= given["timesteps"]:
                found = off(model, steps, sampler=sampler, spacing=spacing, clip=clip)
                if found > 0.25 and found > 2 * off(model, steps, sampler="ddim", spacing=spacing, clip=clip):
                    noise.append((*list(given.values())[3:], spacing, steps, round(found, 3)))
    assert not noise


@pytest.mark.parametrize("timesteps", [10, 50, 200, 1000])
def test_heun_draws_from_the_main_job_s_kind_of_model(timesteps):
    """Of the cosine schedule and v, with the default spacing: the correction used to multiply errors by up to 20,291."""
    model = Good(config("discrete", timesteps=timesteps))
    assert off(model, 10, sampler="heun") < 0.08


def test_heun_corrects_from_edm_s_largest_sigma_on_and_no_earlier():
    """At sigma / alpha of 80 itself it does; one number says where noise ends, for ladders, EDM and Heun."""
    assert EDM.sigmas[1] == MOST_NOISE == pytest.approx(np.exp(LOG_SIGMAS[1]))
    edm = process_of(described({"process": "edm", "schedule": "cosine", "timesteps": 100})).levels(5, "karras")
    asked: list[int] = []

    def denoise(x: Tensor, i: int) -> Denoised:
        asked.append(i)
        return Denoised(0 * x)

    heun(denoise, torch.ones(1, 1, 1, 1), edm, torch.Tensor)
    assert asked == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    asked.clear()
    noisier = process_of(described({"process": "discrete", "schedule": "cosine", "timesteps": 1000})).levels(5)
    assert noisier.sigmas[0] / noisier.alphas[0] > 20_000
    heun(denoise, torch.ones(1, 1, 1, 1), noisier, torch.Tensor)
    assert asked == [0, 1, 2, 2, 3, 3, 4, 4]
