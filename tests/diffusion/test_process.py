import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.process import level_at, posterior, posteriors, q_sample, time_at, to_eps
from stepladder.diffusion.schedules import CURVES, curve, of_config, schedule

CONTINUOUS = [{"process": "continuous", "schedule": name} for name in sorted(CURVES)] + [
    {"process": "continuous", "schedule": "log_snr", "log_snr": [12.0, 1.0, -9.0]},
    {"process": "edm", "schedule": "cosine"},
    {"process": "flow", "schedule": "cosine"},
]


def example(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    x_0, eps = torch.randn(2, 3, 1, 8, 8, dtype=dtype)
    return x_0, eps


def test_the_variance_is_kept():
    x_0, eps = torch.randn(2, 200_000)
    assert q_sample(x_0, eps, 0.3**0.5, 0.7**0.5).var().item() == pytest.approx(1, abs=0.02)


def test_the_level_of_each_example_is_its_own():
    x_0, eps = example()
    alpha = torch.tensor([1.0, 0.6, 0.0], dtype=torch.float64).view(3, 1, 1, 1)
    sigma = torch.tensor([0.0, 0.8, 1.0], dtype=torch.float64).view(3, 1, 1, 1)
    x = q_sample(x_0, eps, alpha, sigma)
    torch.testing.assert_close(x[0], x_0[0])
    torch.testing.assert_close(x[2], eps[2])
    torch.testing.assert_close(to_eps(x_0[1:], x[1:], alpha[1:], sigma[1:]), eps[1:])


def test_noising_is_that_of_diffusers():
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    x_0, eps = example(torch.float32)
    t = torch.tensor([0, 400, 999])
    s = torch.tensor(schedule("linear", 1000).alphas_cumprod, dtype=torch.float32)[t].view(3, 1, 1, 1)
    x = q_sample(x_0, eps, s.sqrt(), (1 - s).sqrt())
    torch.testing.assert_close(x, oracle.add_noise(x_0, eps, t), rtol=1e-5, atol=1e-5)


@given(st.floats(1e-4, 0.999), st.floats(1e-3, 1 - 1e-3), st.floats(-2, 2), st.floats(-2, 2))
def test_posterior_is_the_product_of_two_gaussians(beta, before, x_0, x_t):
    """q(x_before | x_0) q(x_t | x_before), as a density of x_before: precisions add, means weigh by precision."""
    prior_mean, prior_precision = math.sqrt(before) * x_0, 1 / (1 - before)
    step_mean, step_precision = x_t / math.sqrt(1 - beta), (1 - beta) / beta
    precision = prior_precision + step_precision
    mean = (prior_mean * prior_precision + step_mean * step_precision) / precision
    of_x_0, of_x_t, variance = posterior(beta, before * (1 - beta), before)
    assert variance == pytest.approx(1 / precision, rel=1e-6)
    assert of_x_0 * x_0 + of_x_t * x_t == pytest.approx(mean, rel=1e-6, abs=1e-9)


def test_posterior_of_the_last_step_is_the_data():
    assert posterior(0.25, 0.75, 1.0) == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.parametrize("timesteps", [1, 2, 10, 1000])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_tables_of_posteriors_are_those_of_each_step(timesteps, zero_terminal_snr):
    chain = of_config({"schedule": "linear", "timesteps": timesteps, "zero_terminal_snr": zero_terminal_snr})
    tables = posteriors(chain)
    each = [
        posterior(chain.betas[t], chain.alphas_cumprod[t], chain.alphas_cumprod[t - 1]) for t in range(1, timesteps)
    ]
    assert tables.of_x_0[0] == pytest.approx(1)
    np.testing.assert_allclose(tables.of_x_0[1:], [of_x_0 for of_x_0, _, _ in each])
    np.testing.assert_allclose(np.exp(tables.log_smallest[1:]), [variance for _, _, variance in each])
    np.testing.assert_allclose(np.exp(tables.log_largest), chain.betas)
    assert tables.log_smallest[0] == (tables.log_smallest[1] if timesteps > 1 else tables.log_largest[0])


@pytest.mark.parametrize("config", CONTINUOUS, ids=str)
def test_every_level_in_continuous_time_has_its_time(config):
    u = np.linspace(0.001, 0.999, 333)
    alpha, sigma = level_at(config)(u)
    log_sigma = np.log(sigma / alpha)
    assert (np.diff(log_sigma) > 0).all()
    np.testing.assert_allclose(time_at(config)(log_sigma), u, atol=2e-4)
    assert ((time_at(config)(np.array([-50.0, 50.0])) >= 0) & (time_at(config)(np.array([-50.0, 50.0])) <= 1)).all()


def test_levels_in_continuous_time_are_the_published_ones():
    u = np.linspace(0, 1, 11)
    for config in CONTINUOUS[:-2]:
        alpha, sigma = level_at(config)(u)
        np.testing.assert_allclose(alpha**2 + sigma**2, 1)
        np.testing.assert_allclose(2 * np.log(alpha / sigma), curve(config)(u), atol=1e-9)
    alpha, sigma = level_at({"process": "edm"})(u)
    assert (alpha == 1).all()
    assert sigma[[0, -1]] == pytest.approx([0.002, 80])
    assert sigma[5] == pytest.approx(math.sqrt(0.002 * 80))
    alpha, sigma = level_at({"process": "flow"})(u)
    np.testing.assert_allclose(alpha, 1 - u)
    np.testing.assert_allclose(sigma, u)
