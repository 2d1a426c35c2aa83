"""Against diffusers, and against the closed form for normal data, whose best denoiser is known."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from stepladder.diffusion.samplers import ancestral, ddim
from stepladder.diffusion.schedules import Schedule, schedule
from stepladder.diffusion.spacing import spaced

T = 100
LINEAR_100 = {"num_train_timesteps": T, "beta_start": 1e-3, "beta_end": 0.2, "beta_schedule": "linear"}


def tables() -> Schedule:
    """The tables that diffusers makes of ``LINEAR_100``."""
    return Schedule.of(np.cumprod(1 - np.linspace(1e-3, 0.2, T)))


def toy(x: Tensor, t: int) -> Tensor:
    """Some x_0 that depends on both."""
    return 0.9 * torch.tanh(x) + 0.3 * torch.sin(x.flip(-1) + t / 30)


def noises(count: int) -> tuple[Tensor, list[Tensor]]:
    x = torch.randn(count + 1, 4, 1, 8, 8, dtype=torch.float64)
    return x[0], list(x[1:])


def replay(noise: list[Tensor]) -> Callable[[], Tensor]:
    numbers: Iterator[Tensor] = iter(noise)
    return lambda: next(numbers)


@pytest.mark.parametrize("count", [1, 2, 10, T])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ancestral_is_that_of_diffusers(count, clip, variance, monkeypatch):
    oracle = DDPMScheduler(
        **LINEAR_100, prediction_type="sample", clip_sample=clip, variance_type=variance, timestep_spacing="leading"
    )
    oracle.set_timesteps(count)
    start, noise = noises(count)
    again = replay(noise)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: again())
    x = start
    for t in oracle.timesteps:
        x = oracle.step(toy(x, int(t)), int(t), x).prev_sample
    steps = spaced(T, count, "leading")
    ours = ancestral(toy, start, tables(), steps, replay(noise), variance=variance, clip=clip)
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 10, T])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim_is_that_of_diffusers(count, spacing, eta, clip):
    oracle = DDIMScheduler(**LINEAR_100, prediction_type="sample", clip_sample=clip, timestep_spacing=spacing)
    oracle.set_timesteps(count)
    start, noise = noises(count)
    x = start
    for t, fresh in zip(oracle.timesteps, noise, strict=True):
        x = oracle.step(
            toy(x, int(t)), int(t), x, eta=eta, use_clipped_model_output=True, variance_noise=fresh
        ).prev_sample  # fmt: skip
    steps = spaced(T, count, spacing)
    ours = ddim(toy, start, tables(), steps, replay(noise), eta=eta, clip=clip)
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_ddim_with_all_its_noise_is_ancestral_with_the_small_variance(name, spacing):
    steps = spaced(T, 7, spacing)
    start, noise = noises(7)
    stochastic = ddim(toy, start, schedule(name, T), steps, replay(noise), eta=1.0)
    torch.testing.assert_close(
        stochastic, ancestral(toy, start, schedule(name, T), steps, replay(noise)), rtol=1e-6, atol=1e-6
    )  # fmt: skip


MEAN, DEVIATION = 0.4, 0.25


def best_denoiser(chain: Schedule) -> Callable[[Tensor, int], Tensor]:
    """E[x_0 | x_t] for data N(MEAN, DEVIATION^2)."""

    def denoise(x: Tensor, t: int) -> Tensor:
        signal = float(chain.alphas_cumprod[t])
        gain = signal**0.5 * DEVIATION**2 / (signal * DEVIATION**2 + 1 - signal)
        return MEAN + gain * (x - signal**0.5 * MEAN)

    return denoise


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "ddim half", "ddim full"])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_normal_data_is_recovered(name, sampler):
    chain = schedule(name, 300)
    steps = spaced(300, 300)
    denoise = best_denoiser(chain)
    start = torch.randn(20_000, dtype=torch.float64)

    def noise() -> Tensor:
        return torch.randn_like(start)

    if sampler == "ancestral":
        x = ancestral(denoise, start, chain, steps, noise, clip=False)
    else:
        eta = {"ddim": 0.0, "ddim half": 0.5, "ddim full": 1.0}[sampler]
        x = ddim(denoise, start, chain, steps, noise, eta=eta, clip=False)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.05)


def test_one_step_gives_what_the_denoiser_says():
    start, noise = noises(1)
    for sampler in (ancestral, ddim):
        x = sampler(toy, start, tables(), np.array([T - 1]), replay(noise), clip=False)
        torch.testing.assert_close(x, toy(start, T - 1))


@pytest.mark.parametrize("sampler", [ancestral, ddim])
def test_the_callback_sees_every_step_from_noise_to_data(sampler):
    start, noise = noises(3)
    seen: list[tuple[int, int]] = []

    def callback(i: int, t: int, x: Tensor, x_0: Tensor) -> None:
        seen.append((i, t))

    sampler(toy, start, tables(), np.array([0, 50, 99]), replay(noise), callback=callback)
    assert seen == [(0, 99), (1, 50), (2, 0)]


def test_clipping_keeps_the_result_in_range():
    start, noise = noises(5)
    for sampler in (ancestral, ddim):
        x = sampler(lambda x, t: 3 * x, start, tables(), spaced(T, 5), replay(noise))
        assert x.abs().max() <= 1
