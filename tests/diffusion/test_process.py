import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.process import PREDICTIONS, posterior, q_sample, target, to_eps, to_x0
from stepladder.diffusion.schedules import schedule

signals = st.floats(1e-4, 1 - 1e-4)


def example(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    x_0, eps = torch.randn(2, 3, 1, 8, 8, dtype=dtype)
    return x_0, eps


@pytest.mark.parametrize("prediction", PREDICTIONS)
@given(signal=signals)
def test_what_the_network_is_to_output_gives_back_the_data_and_the_noise(prediction, signal):
    x_0, eps = example()
    s = torch.full((3, 1, 1, 1), signal, dtype=torch.float64)
    x_t = q_sample(x_0, eps, s)
    output = target(prediction, x_0, eps, s)
    for given_as in (s, signal):
        found = to_x0(prediction, output, x_t, given_as)
        torch.testing.assert_close(found, x_0, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(to_eps(found, x_t, given_as), eps, rtol=1e-6, atol=1e-6)


def test_the_variance_is_kept():
    x_0, eps = torch.randn(2, 200_000)
    assert q_sample(x_0, eps, torch.tensor(0.3)).var().item() == pytest.approx(1, abs=0.02)


def test_signal_of_each_example_is_its_own():
    x_0, eps = example()
    s = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64).view(3, 1, 1, 1)
    x_t = q_sample(x_0, eps, s)
    torch.testing.assert_close(x_t[0], x_0[0])
    torch.testing.assert_close(x_t[2], eps[2])


def test_noising_and_velocity_are_those_of_diffusers():
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    x_0, eps = example(torch.float32)
    t = torch.tensor([0, 400, 999])
    s = torch.tensor(schedule("linear", 1000).alphas_cumprod, dtype=torch.float32)[t].view(3, 1, 1, 1)
    torch.testing.assert_close(q_sample(x_0, eps, s), oracle.add_noise(x_0, eps, t), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(target("v", x_0, eps, s), oracle.get_velocity(x_0, eps, t), rtol=1e-5, atol=1e-5)


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
