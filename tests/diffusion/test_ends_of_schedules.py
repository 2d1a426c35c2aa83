"""The first and the last steps of a schedule, where what is divided by is smallest: every loss and gradient is a number."""

import itertools
import math

import numpy as np
import pytest
import torch
import yaml
from mpmath import mp
from pydantic import ValidationError
from torch import Tensor, nn

from stepladder.diffusion.likelihood import bits_per_dim
from stepladder.diffusion.losses import HALF_BIN, discretised_gaussian, log_normal_cdf, vlb_term
from stepladder.diffusion.processes.posterior import posteriors
from stepladder.diffusion.processes.schedules import CURVES, SMALLEST_BETA, Schedule, of_description
from stepladder.diffusion.training import time_sampling
from stepladder.diffusion.training.task import DiffusionTask, configuration
from stepladder.params import Diffusion, load, merge, presets
from stepladder.params.reading import PRESETS_FOLDER
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch
from tests.describing import described, described_model
from tests.digits import log_nothing

SIDE, BATCH, STEPS = 16, 4, 60
SMALL = {
    "unet": {"channels": 8, "channel_mult": [1, 2], "blocks": 1, "norm_groups": 4, "heads": 2, "attention_resolutions": [8]},
    "dit": {"d_model": 16, "depth": 1, "heads": 2},
    "text_encoder": {"d_model": 16, "depth": 1, "heads": 2},
}  # fmt: skip


def of_diffusion() -> list[str]:
    """The presets that say something of pictures."""
    given = {name: yaml.safe_load((PRESETS_FOLDER / f"{name}.yaml").read_text()) for name in presets()}
    return [name for name, content in given.items() if content.keys() & {"images", "diffusion"}]


def ends(timesteps: int) -> Tensor:
    return torch.tensor([0, 1, timesteps - 2, timesteps - 1]).clamp(min=0, max=timesteps - 1)


def card(channels: int) -> dict[str, object]:
    return {
        "name": "made", "source": "made", "content_hash": "", "shape": [channels, SIDE, SIDE], "classes": ["a", "b"],
        "text": {"vocabulary": 12, "length": 5},
    }  # fmt: skip


def batch(channels: int, position: int) -> Batch:
    random = torch.Generator().manual_seed(position)
    images = torch.randint(256, (BATCH, channels, SIDE, SIDE), generator=random, dtype=torch.uint8)
    text = torch.randint(1, 12, (BATCH, 5), generator=random)
    return {"images": images, "labels": torch.arange(BATCH) % 2, "text": text, "size": BATCH, "position": position}


@pytest.fixture
def at_the_ends(monkeypatch):
    """Training draws t = 0, 1, T-2 and T-1, over and over."""
    monkeypatch.setattr(time_sampling, "steps", lambda name, timesteps, *_: ends(timesteps))


@pytest.mark.slow
@pytest.mark.usefixtures("at_the_ends")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
@pytest.mark.parametrize("preset", of_diffusion())
def test_sixty_steps_of_every_preset_stay_numbers(preset, dtype):
    """With the preset's own process, losses, schedule and optimiser; only the network and the pictures are small."""
    params = load(preset=preset)
    given = merge(params.diffusion.model_dump(mode="json"), SMALL)
    section = Diffusion.model_validate(given | {"low_resolution": min(params.diffusion.low_resolution, SIDE // 2)})
    channels = 1 if params.images.source == "digits" else 3
    task = DiffusionTask(configuration(section, card(channels), max(params.sweep.timesteps)), section, seed=0).train()
    log_nothing(Experiment(task, lambda k: {}, []))
    made = task.configure_optimizers()
    optimizer, course = made["optimizer"], made["lr_scheduler"]["scheduler"]
    for k in range(STEPS):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = task.training_step(batch(channels, k), k)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(task.model.parameters(), section.training.gradient_clip or math.inf)
        assert loss.isfinite(), k
        assert norm.isfinite(), k
        optimizer.step()
        optimizer.zero_grad()
        course.step()
    assert all(parameter.isfinite().all() for parameter in task.model.parameters())


class Constant(nn.Module):
    """A network that says ``value`` of everything."""

    def __init__(self, outputs: int, value: float) -> None:
        super().__init__()
        self.outputs, self.value = outputs, nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, time: Tensor, condition: object) -> Tensor:
        return self.value.expand(len(x), self.outputs, *x.shape[2:])


OBJECTIVES = [
    {"prediction": prediction, "zero_terminal_snr": zero, "weighting": weighting, **objective}
    for prediction, zero, weighting, objective in itertools.product(
        ("eps", "x0", "v"), (False, True), ("none", "min_snr", "p2", "edm"),
        (
            {"loss": "simple"}, {"loss": "vlb"}, {"loss": "vlb", "variance": "learned_range"},
            {"loss": "hybrid", "variance": "learned_range"},
        ),
    )
]  # fmt: skip
SCHEDULES = [{"schedule": name} for name in CURVES] + [
    {"schedule": "log_snr", "log_snr": [20.0, 20.0 - 1e-9, -20.0 + 1e-9, -20.0]},
    {"schedule": "log_snr", "log_snr": [20.0, -20.0]},
]


def admitted(given: dict[str, object]) -> Diffusion | None:
    try:
        return Diffusion.model_validate(given)
    except ValidationError:
        return None


@pytest.mark.usefixtures("at_the_ends")
@pytest.mark.filterwarnings("ignore:diffusion")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("timesteps", [1, 2, 10, 4000])
def test_every_objective_that_is_admitted_has_a_finite_gradient(monkeypatch, schedule, timesteps):
    """Of a network that is off by ten standard deviations of its target."""
    monkeypatch.setattr("stepladder.diffusion.training.task.build", lambda model: Constant(model.outputs, 10.0))
    sections = [section for given in OBJECTIVES if (section := admitted(given | schedule))]
    assert len(sections) > 30
    for section in sections:
        task = DiffusionTask(configuration(section, card(1), timesteps), section, seed=0)
        log_nothing(Experiment(task, lambda k: {}, []))
        loss = task.training_step(batch(1, 0), 0)
        loss.backward()
        assert loss.isfinite(), section
        assert task.model.value.grad.isfinite(), section


@pytest.mark.parametrize("x", [-1e6, -3e4, -1e3, -40.0, -3.0, 0.0, 3.0, 9.0])
def test_the_logarithm_of_the_normal_distribution_has_its_own_derivative(x):
    """phi(x) / Phi(x) to 60 digits; torch's is off by 5% at -1,000 in float32, and infinite from -3e4 on."""
    at = torch.tensor(x, requires_grad=True)
    log_normal_cdf(at).backward()
    with mp.workdps(60):
        expected = float(mp.npdf(x) / (mp.erfc(-mp.mpf(x) / mp.sqrt(2)) / 2))
    assert at.grad.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("std", [1e-6, 1e-3, 0.03, 1.0])
@pytest.mark.parametrize("mean", [0.5, 2.0, 30.0, 150.0, 1e3, 1e5])
def test_the_decoder_and_its_derivative_are_right_however_far_off(std, mean):
    """Against 60 digits, in float32, from 0 to 1e11 standard deviations."""
    log_variance, at = torch.tensor(2 * math.log(std)), torch.tensor(mean, requires_grad=True)
    found = discretised_gaussian(torch.tensor(-0.6), at, log_variance)
    found.backward()
    with mp.workdps(60):
        scale = mp.exp(mp.mpf(log_variance.item()) / 2)
        distance = mp.mpf(torch.tensor(-0.6).item()) - mp.mpf(mean)
        upper, lower = ((distance + side * mp.mpf(HALF_BIN)) / scale for side in (1, -1))
        p = (mp.erfc(-upper / mp.sqrt(2)) - mp.erfc(-lower / mp.sqrt(2))) / 2
        assert found.item() == pytest.approx(float(mp.log(p)), rel=1e-5)
        assert at.grad.item() == pytest.approx(float((mp.npdf(lower) - mp.npdf(upper)) / scale / p), rel=1e-4)


@pytest.mark.parametrize("wrong", [1.0, 1e3, 3e5, 1e8])
def test_the_decoder_of_other_steps_leaves_the_gradient_alone(wrong):
    """What improved-diffusion finds: the term's derivative by the log-variance, -5.771 for mean 3 and variance e^-8."""
    one = torch.ones(1, 1, 1, 1)
    log_variance = torch.zeros(1, 1, 1, 1, requires_grad=True)
    vlb_term(0 * one, wrong * one, torch.tensor([False]), 3 / wrong * one, -8 * one, log_variance).sum().backward()
    expected = (0.5 - 0.5 * (math.exp(-8) + 9)) / math.log(2)
    assert log_variance.grad.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("signal", [[0.5, 0.5, 0.5, 0.1], [1 - 1e-15, 0.5, 0.5 - 1e-15, 0.2]])
def test_betas_are_bounded_away_from_0(signal):
    chain = Schedule.of(np.array(signal))
    assert (chain.betas >= SMALLEST_BETA).all()
    tables = posteriors(chain)
    assert all(np.isfinite(table).all() for table in (tables.x_0_coef, tables.log_smallest, tables.log_largest))


def test_own_betas_below_what_can_be_told_from_0_are_refused():
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.000000000001"):
        Diffusion(schedule="betas", betas=(1e-20, 0.5))
    own = Diffusion(schedule="betas", betas=(SMALLEST_BETA, 0.999999))
    tables = posteriors(of_description(described({"schedule": "betas", "betas": own.betas, "timesteps": 2})))
    assert abs(tables.x_0_coef[0] - 1) < 1e-3


def test_the_bound_of_a_curve_with_level_ends_is_a_number():
    """In continuous time the levels of the flat ends of a curve coincide."""
    config = described_model({
        "model": {"shape": (1, 4, 4)}, "classes": [], "process": "continuous", "schedule": "cosine", "prediction": "v",
        "timesteps": 100_000, "log_snr": [], "variance": "fixed",
    })  # fmt: skip
    labels = torch.zeros(1, dtype=torch.int64)
    found = bits_per_dim(Constant(1, 0.0), config, torch.zeros(1, 1, 4, 4), {"labels": labels}, batch_size=20_000)
    assert math.isfinite(found["bits_per_dim"])


def test_the_presets_of_pictures_are_known():
    assert {"quick", "improved-ddpm-cifar10", "ddpm-cifar10", "super-resolution"} <= set(of_diffusion())
