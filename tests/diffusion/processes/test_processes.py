import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.processes.posterior import posterior, posteriors
from stepladder.diffusion.processes.process import ContinuousTime, Process, q_sample, split
from stepladder.diffusion.processes.processes import EDM, PROCESSES, process_of
from stepladder.diffusion.processes.schedules import CURVES, curve, of_description, schedule
from tests.describing import described

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
    x_0_coef, x_t_coef, variance = posterior(beta, before * (1 - beta), before)
    assert variance == pytest.approx(1 / precision, rel=1e-6)
    assert x_0_coef * x_0 + x_t_coef * x_t == pytest.approx(mean, rel=1e-6, abs=1e-9)


def test_posterior_of_the_last_step_is_the_data():
    assert posterior(0.25, 0.75, 1.0) == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.parametrize("timesteps", [1, 2, 10, 1000])
@pytest.mark.parametrize("zero_terminal_snr", [False, True])
def test_tables_of_posteriors_are_those_of_each_step(timesteps, zero_terminal_snr):
    chain = of_description(
        described({"schedule": "linear", "timesteps": timesteps, "zero_terminal_snr": zero_terminal_snr})
    )
    tables = posteriors(chain)
    each = [
        posterior(chain.betas[t], chain.alphas_cumprod[t], chain.alphas_cumprod[t - 1]) for t in range(1, timesteps)
    ]
    assert tables.x_0_coef[0] == pytest.approx(1)
    np.testing.assert_allclose(tables.x_0_coef[1:], [x_0_coef for x_0_coef, _, _ in each])
    np.testing.assert_allclose(np.exp(tables.log_smallest[1:]), [variance for _, _, variance in each])
    np.testing.assert_allclose(np.exp(tables.log_largest), chain.betas)
    assert tables.log_smallest[0] == (tables.log_smallest[1] if timesteps > 1 else tables.log_largest[0])


@pytest.mark.parametrize("config", CONTINUOUS, ids=str)
def test_every_level_in_continuous_time_has_its_time(config):
    u = np.linspace(0.001, 0.999, 333)
    process = process_of(described(config))
    alpha, sigma = process.level_at(u)
    log_sigma = np.log(sigma / alpha)
    assert (np.diff(log_sigma) > 0).all()
    np.testing.assert_allclose(process.time_at(log_sigma), u, atol=2e-4)
    assert ((process.time_at(np.array([-50.0, 50.0])) >= 0) & (process.time_at(np.array([-50.0, 50.0])) <= 1)).all()


def test_levels_in_continuous_time_are_the_published_ones():
    u = np.linspace(0, 1, 11)
    for config in CONTINUOUS[:-2]:
        alpha, sigma = process_of(described(config)).level_at(u)
        np.testing.assert_allclose(alpha**2 + sigma**2, 1)
        np.testing.assert_allclose(2 * np.log(alpha / sigma), curve(described(config))(u), atol=1e-9)
    alpha, sigma = process_of(described({"process": "edm"})).level_at(u)
    assert (alpha == 1).all()
    assert sigma[[0, -1]] == pytest.approx([0.002, 80])
    assert sigma[5] == pytest.approx(math.sqrt(0.002 * 80))
    alpha, sigma = process_of(described({"process": "flow"})).level_at(u)
    np.testing.assert_allclose(alpha, 1 - u)
    np.testing.assert_allclose(sigma, u)


KINDS = [
    (name, prediction)
    for name, process in PROCESSES.items()
    for prediction in (("v",) if process.has_own_target else ("eps", "x0", "v"))
]


def made(process: str, prediction: str = "v", timesteps: int = 50, **changes: object) -> Process:
    return process_of(
        described(
            {"process": process, "prediction": prediction, "schedule": "cosine", "timesteps": timesteps} | changes
        )
    )


@pytest.mark.parametrize(("name", "prediction"), KINDS)
@given(row=st.integers(0, 48), sigma_data=st.sampled_from([0.5, 0.75]))
def test_what_the_network_is_to_output_gives_back_the_data(name, prediction, row, sigma_data):
    process = made(name, prediction, sigma_data=sigma_data)
    x_0, eps = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    levels = process.levels_of_bound(50)
    alpha, sigma = float(levels.alphas[row]), float(levels.sigmas[row])
    output, x = process.target(x_0, eps, alpha, sigma), q_sample(x_0, eps, alpha, sigma)
    torch.testing.assert_close(process.to_x0(output, x, alpha, sigma), x_0, rtol=1e-6, atol=1e-6)
    columns = (torch.full((3, 1, 1, 1), v, dtype=torch.float64) for v in (alpha, sigma))
    torch.testing.assert_close(process.to_x0(output, x, *columns), x_0, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_visits_levels_that_a_bound_reads_the_other_way_round(name):
    process = made(name)
    visited, read = process.levels(50), process.levels_of_bound()
    assert len(visited) == len(read) == process.timesteps
    np.testing.assert_array_equal(visited.times, read.times[::-1])
    np.testing.assert_array_equal(visited.sigmas, read.sigmas[::-1])
    assert (np.diff(read.chain().alphas_cumprod) < 0).all()
    tables = process.posteriors_of_bound(read)
    assert (tables.log_smallest[1:] <= tables.log_largest[1:]).all()


@pytest.mark.parametrize("name", PROCESSES)
def test_what_serves_every_t_has_the_levels_of_each(name):
    for timesteps in (7, 40):
        process = made(name, timesteps=timesteps)
        read = process.levels_of_bound()
        found = process.levels_of_every_t(read.times[:-1])
        np.testing.assert_allclose(found.sigmas, read.sigmas[:-1], rtol=1e-6)
        np.testing.assert_array_equal(found.times, read.times[:-1])


@pytest.mark.parametrize("name", PROCESSES)
def test_a_network_that_knows_the_time_only_sees_the_same(name):
    process, x = made(name), torch.randn(5, 1, 4, 4)
    levels = process.levels(5)
    sigma = torch.tensor(levels.sigmas, dtype=torch.float32)[:, None, None, None]
    seen = process.scale_input_at(x, torch.tensor(levels.times, dtype=torch.float32))
    torch.testing.assert_close(seen, process.scale_input(x, sigma), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_sampling_starts_from_what_the_first_level_is(name):
    process = made(name, timesteps=1000)
    levels = process.levels(10)
    start = process.first_noise(torch.randn(200_000), float(levels.sigmas[0]))
    assert start.std().item() == pytest.approx(levels.sigmas[0], rel=0.02)


@pytest.mark.parametrize("name", PROCESSES)
def test_what_a_process_says_of_itself_is_true(name):
    kind = PROCESSES[name]
    assert kind.title
    assert kind.has_steps != issubclass(kind, ContinuousTime)
    x_0, eps = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    targets = [made(name, prediction).target(x_0, eps, 0.6, 0.8) for prediction in ("eps", "x0", "v")]
    assert all(torch.equal(targets[0], other) for other in targets) == kind.has_own_target
    sigmas = [made(name, schedule=schedule).levels(5).sigmas for schedule in ("cosine", "linear")]
    assert np.array_equal(*sigmas) == kind.has_own_levels


def test_velocity_is_that_of_diffusers():
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    x_0, eps = torch.randn(2, 3, 1, 8, 8)
    t = torch.tensor([0, 400, 999])
    s = torch.tensor(schedule("linear", 1000).alphas_cumprod, dtype=torch.float32)[t].view(3, 1, 1, 1)
    v = made("discrete").target(x_0, eps, s.sqrt(), (1 - s).sqrt())
    torch.testing.assert_close(v, oracle.get_velocity(x_0, eps, t), rtol=1e-5, atol=1e-5)


def test_velocity_of_a_flow_is_the_derivative_of_its_path():
    x_0, eps = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64)
    slope = (q_sample(x_0, eps, 1 - 0.301, 0.301) - q_sample(x_0, eps, 1 - 0.299, 0.299)) / 0.002
    torch.testing.assert_close(made("flow").target(x_0, eps, 0.7, 0.3), slope)


@pytest.mark.parametrize("sigma_data", [0.5, 0.1, 0.75])
@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_edm_s_input_and_target_have_unit_variance(sigma, sigma_data):
    """The two demands that the preconditioning is derived from: Karras et al. (2022), appendix B.6."""
    x_0, eps = sigma_data * torch.randn(400_000), torch.randn(400_000)
    process = made("edm", sigma_data=sigma_data)
    assert process.scale_input(x_0 + sigma * eps, sigma).var().item() == pytest.approx(1, abs=0.02)
    assert process.target(x_0, eps, 1.0, sigma).var().item() == pytest.approx(1, abs=0.02)


def test_other_processes_show_the_network_x_as_it_is():
    x = torch.randn(2, 1, 4, 4)
    for name in PROCESSES.keys() - {EDM.name}:
        assert made(name).scale_input(x, 0.5) is x


def test_a_learned_variance_is_the_second_half_of_the_channels_and_zero_is_the_middle():
    output = torch.zeros(2, 6, 4, 4)
    output[:, :3] = 7
    output[0, 3:], output[1, 3:] = 1, -1
    mean, fraction = split(output, 3)
    assert (mean == 7).all()
    assert fraction is not None
    assert fraction.shape == mean.shape
    assert (fraction[0] == 1).all()
    assert (fraction[1] == 0).all()
    assert (split(torch.zeros(2, 6, 4, 4), 3)[1] == 0.5).all()
    assert split(output, 6) == (output, None)
