import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.parameterisation import SIGMA_DATA, network_input, split, target, to_x0
from stepladder.diffusion.process import q_sample
from stepladder.diffusion.schedules import schedule

KINDS = [("discrete", "eps"), ("discrete", "x0"), ("continuous", "v"), ("edm", "v"), ("flow", "v")]


def level(process: str, u: float) -> tuple[float, float]:
    """Some level of that process."""
    if process == "flow":
        return 1 - u, u
    return (1.0, 80 * u) if process == "edm" else ((1 - u) ** 0.5, u**0.5)


@pytest.mark.parametrize(("process", "prediction"), KINDS)
@given(u=st.floats(1e-3, 1 - 1e-3))
def test_what_the_network_is_to_output_gives_back_the_data(process, prediction, u):
    x_0, eps = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64)
    alpha, sigma = level(process, u)
    output = target(process, prediction, x_0, eps, alpha, sigma)
    x = q_sample(x_0, eps, alpha, sigma)
    torch.testing.assert_close(to_x0(process, prediction, output, x, alpha, sigma), x_0, rtol=1e-6, atol=1e-6)
    columns = (torch.full((3, 1, 1, 1), v, dtype=torch.float64) for v in (alpha, sigma))
    torch.testing.assert_close(to_x0(process, prediction, output, x, *columns), x_0, rtol=1e-6, atol=1e-6)


def test_velocity_is_that_of_diffusers():
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
    x_0, eps = torch.randn(2, 3, 1, 8, 8)
    t = torch.tensor([0, 400, 999])
    s = torch.tensor(schedule("linear", 1000).alphas_cumprod, dtype=torch.float32)[t].view(3, 1, 1, 1)
    v = target("discrete", "v", x_0, eps, s.sqrt(), (1 - s).sqrt())
    torch.testing.assert_close(v, oracle.get_velocity(x_0, eps, t), rtol=1e-5, atol=1e-5)


def test_velocity_of_a_flow_is_the_derivative_of_its_path():
    x_0, eps = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64)
    slope = (q_sample(x_0, eps, 1 - 0.301, 0.301) - q_sample(x_0, eps, 1 - 0.299, 0.299)) / 0.002
    torch.testing.assert_close(target("flow", "v", x_0, eps, 0.7, 0.3), slope)


@pytest.mark.parametrize("sigma", [0.002, 0.1, 0.5, 3.0, 80.0])
def test_edm_s_input_and_target_have_unit_variance(sigma):
    """The two demands that the preconditioning is derived from: Karras et al. (2022), appendix B.6."""
    x_0, eps = SIGMA_DATA * torch.randn(400_000), torch.randn(400_000)
    assert network_input("edm", x_0 + sigma * eps, sigma).var().item() == pytest.approx(1, abs=0.02)
    assert target("edm", "v", x_0, eps, 1.0, sigma).var().item() == pytest.approx(1, abs=0.02)


def test_other_processes_show_the_network_x_as_it_is():
    x = torch.randn(2, 1, 4, 4)
    for process in ("discrete", "continuous", "flow"):
        assert network_input(process, x, 0.5) is x


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
