"""Against diffusers, and against the closed form for normal data, whose best denoiser and whose ODE are known."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.processes.processes import process_of
from stepladder.diffusion.processes.spacing import spaced
from stepladder.diffusion.samplers.heun import heun
from stepladder.diffusion.samplers.multistep import dpmpp_2m, unipc
from stepladder.diffusion.samplers.one_step import ancestral, ddim, euler
from stepladder.diffusion.samplers.sampler import Denoised
from stepladder.diffusion.samplers.samplers import SAMPLERS
from stepladder.params import Sampling
from tests.describing import described

T = 100
LINEAR_100 = {"num_train_timesteps": T, "beta_start": 1e-3, "beta_end": 0.2, "beta_schedule": "linear"}
CONFIG: dict[str, Any] = {"timesteps": T, "schedule": "betas", "betas": np.linspace(1e-3, 0.2, T).tolist()}
PROCESSES = {
    "discrete": {"process": "discrete", "schedule": "cosine", "timesteps": 1000},
    "zero terminal": {"process": "discrete", "schedule": "cosine", "timesteps": 1000, "zero_terminal_snr": True},
    "continuous": {"process": "continuous", "schedule": "cosine", "timesteps": 1000},
    "edm": {"process": "edm", "schedule": "cosine", "timesteps": 1000},
    "flow": {"process": "flow", "schedule": "cosine", "timesteps": 1000},
}
DETERMINISTIC = {name: sampler.order for name, sampler in SAMPLERS.items() if sampler.order}


def toy(visited: Levels) -> Callable[[Tensor, int], Denoised]:
    """Some x_0 that depends on the picture and the timestep."""

    def denoise(x: Tensor, i: int) -> Denoised:
        t = visited.times[i] * T - 1
        return Denoised(0.9 * torch.tanh(x) + 0.3 * torch.sin(x.flip(-1) + t / 30))

    return denoise


def told(t: float, x: Tensor) -> Tensor:
    """The same for diffusers."""
    return 0.9 * torch.tanh(x) + 0.3 * torch.sin(x.flip(-1) + t / 30)


def noises(count: int) -> tuple[Tensor, list[Tensor]]:
    x = torch.randn(count + 1, 4, 1, 8, 8, dtype=torch.float64)
    return x[0], list(x[1:])


def replay(noise: list[Tensor]) -> Callable[[], Tensor]:
    numbers: Iterator[Tensor] = iter(noise)
    return lambda: next(numbers)


@pytest.fixture(autouse=True)
def _own_betas_leave_signal():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("count", [1, 2, 10, T])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ancestral_is_that_of_diffusers(count, variance, monkeypatch):
    oracle = DDPMScheduler(
        **LINEAR_100, prediction_type="sample", clip_sample=False, variance_type=variance, timestep_spacing="leading"
    )
    oracle.set_timesteps(count)
    start, noise = noises(count)
    again = replay(noise)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: again())
    x = start
    for t in oracle.timesteps:
        x = oracle.step(told(int(t), x), int(t), x).prev_sample
    visited = process_of(described(CONFIG)).levels(count, "leading")
    ours = ancestral(toy(visited), start, visited, replay(noise), variance=variance)
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 10, T])
def test_learned_variance_is_that_of_diffusers(count, monkeypatch):
    oracle = DDPMScheduler(
        **LINEAR_100,
        prediction_type="sample",
        clip_sample=False,
        variance_type="learned_range",
        timestep_spacing="leading",
    )
    oracle.set_timesteps(count)
    start, noise = noises(count)
    again = replay(noise)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: again())
    x = start
    for t in oracle.timesteps:
        x = oracle.step(torch.cat([told(int(t), x), x.tanh()], dim=1), int(t), x).prev_sample
    visited = process_of(described(CONFIG)).levels(count, "leading")

    def denoise(x: Tensor, i: int) -> Denoised:
        return Denoised(toy(visited)(x, i).x_0, (x.tanh() + 1) / 2)

    ours = ancestral(denoise, start, visited, replay(noise), variance="learned")
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 10, T])
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_that_of_diffusers(count, spacing, eta):
    oracle = DDIMScheduler(**LINEAR_100, prediction_type="sample", clip_sample=False, timestep_spacing=spacing)
    oracle.set_timesteps(count)
    start, noise = noises(count)
    x = start
    for t, fresh in zip(oracle.timesteps, noise, strict=True):
        x = oracle.step(told(int(t), x), int(t), x, eta=eta, variance_noise=fresh).prev_sample
    visited = process_of(described(CONFIG)).levels(count, spacing)
    ours = ddim(toy(visited), start, visited, replay(noise), eta=eta)
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize(
    ("oracle", "sampler"),
    [
        (DPMSolverMultistepScheduler(**LINEAR_100, prediction_type="sample", timestep_spacing="trailing", final_sigmas_type="zero"), dpmpp_2m),
        (UniPCMultistepScheduler(**LINEAR_100, prediction_type="sample", timestep_spacing="trailing", solver_order=2,
                                 solver_type="bh2", final_sigmas_type="zero", lower_order_final=True), unipc),
    ],
    ids=["DPM-Solver++ 2M", "UniPC"],
)  # fmt: skip
def test_multistep_samplers_are_those_of_diffusers(oracle, sampler, count):
    oracle.set_timesteps(count)
    start, _ = noises(0)
    x = start
    for t in oracle.timesteps:
        x = oracle.step(told(int(t), x), t, x).prev_sample
    visited = process_of(described(CONFIG)).levels(count)
    np.testing.assert_array_equal(np.round(visited.times * T - 1), oracle.timesteps.numpy())
    torch.testing.assert_close(sampler(toy(visited), start, visited), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [2, 5, 20])
@pytest.mark.parametrize(("kind", "sampler"), [(EulerDiscreteScheduler, "euler"), (HeunDiscreteScheduler, "heun")])
def test_euler_and_heun_are_those_of_diffusers_on_edm_s_levels(kind, sampler, count):
    below_80 = LINEAR_100 | {"beta_end": 0.15}  # from noisier levels Heun is not corrected here
    oracle = kind(**below_80, prediction_type="sample", timestep_spacing="trailing")
    oracle.set_timesteps(count)
    assert oracle.sigmas[0] < 80
    sigmas = oracle.sigmas.numpy().astype(np.float64)
    if sampler == "heun":
        sigmas = np.concatenate([sigmas[:1], sigmas[1:-1:2], [0.0]])
    visited = Levels(np.ones(count), sigmas[:count], np.arange(count, 0, -1) / count)
    start = noises(0)[0] * float(oracle.init_noise_sigma)
    x = start
    for t in oracle.timesteps:
        sigma = oracle.sigmas[oracle.step_index if oracle.step_index is not None else 0]
        x = oracle.step(_at_sigma(x, float(sigma)), t, x).prev_sample

    def denoise(x: Tensor, i: int) -> Denoised:
        return Denoised(_at_sigma(x, float(visited.sigmas[i])))

    ours = euler(denoise, start, visited) if sampler == "euler" else heun(denoise, start, visited, replay([]))
    torch.testing.assert_close(ours.float(), x.float(), rtol=2e-3, atol=5e-4)  # single precision in diffusers


def _at_sigma(x: Tensor, sigma: float) -> Tensor:
    return 0.9 * torch.tanh(x) + 0.3 * torch.sin(x.flip(-1) + sigma)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_euler_on_a_flow_is_that_of_diffusers(count):
    visited = process_of(described(PROCESSES["flow"])).levels(count)
    oracle = FlowMatchEulerDiscreteScheduler()
    oracle.set_timesteps(sigmas=visited.sigmas.tolist())
    start, _ = noises(0)
    x = start.float()
    for i, t in enumerate(oracle.timesteps):
        velocity = (x - _at_sigma(x, float(visited.sigmas[i]))) / visited.sigmas[i]
        x = oracle.step(velocity.float(), t, x).prev_sample

    def denoise(x: Tensor, i: int) -> Denoised:
        return Denoised(_at_sigma(x, float(visited.sigmas[i])))

    torch.testing.assert_close(euler(denoise, start.float(), visited), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
def test_ddim_with_all_its_noise_is_ancestral_with_the_small_variance(process, spacing):
    visited = process_of(described(PROCESSES[process])).levels(7, spacing)
    start, noise = noises(7)
    stochastic = ddim(toy(visited), start, visited, replay(noise), eta=1.0)
    same = ancestral(toy(visited), start, visited, replay(noise))
    torch.testing.assert_close(stochastic, same, rtol=1e-6, atol=1e-6)


MEAN, DEVIATION = 0.4, 0.25


def best(visited: Levels) -> Callable[[Tensor, int], Denoised]:
    """E[x_0 | x] for data N(MEAN, DEVIATION^2)."""

    def denoise(x: Tensor, i: int) -> Denoised:
        alpha, sigma = float(visited.alphas[i]), float(visited.sigmas[i])
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        return Denoised(MEAN + gain * (x - alpha * MEAN))

    return denoise


def exact(x: Tensor, visited: Levels) -> Tensor:
    """Where the ODE leads from ``x``: it keeps the place within the normal distribution."""
    alpha, sigma = float(visited.alphas[0]), float(visited.sigmas[0])
    return MEAN + DEVIATION * (x - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2) ** 0.5


def deterministic(name: str, visited: Levels, start: Tensor) -> Tensor:
    return SAMPLERS[name].sample(best(visited), start, visited, replay([]))


@pytest.mark.parametrize("sampler", DETERMINISTIC)
@pytest.mark.parametrize("process", PROCESSES)
def test_deterministic_samplers_find_the_ode_s_end(process, sampler):
    visited = process_of(described(PROCESSES[process])).levels(400, "log_snr")
    start = torch.linspace(-2, 2, 9, dtype=torch.float64) * float(visited.sigmas[0])
    wanted = exact(start, visited)
    assert deterministic(sampler, visited, start).sub(wanted).abs().max() < (
        0.02 if DETERMINISTIC[sampler] == 1 else 2e-3
    )


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_order_of_convergence(sampler):
    """Between two levels that hold both signal and noise; the last step, to the data, is exact for these data only nearly."""
    errors = []
    for steps in (40, 80, 160):
        log_sigmas = np.linspace(2, -4, steps)
        alphas = 1 / np.sqrt(1 + np.exp(2 * log_sigmas))
        visited = Levels(alphas, np.exp(log_sigmas) * alphas, np.linspace(1, 0.1, steps))
        start = torch.linspace(-2, 2, 9, dtype=torch.float64)
        reached: list[Tensor] = []
        SAMPLERS[sampler].sample(
            best(visited), start, visited, replay([]), callback=lambda i, x, x_0, reached=reached: reached.append(x)
        )
        last = Levels(visited.alphas[-1:], visited.sigmas[-1:], visited.times[-1:])
        place = (start - float(alphas[0]) * MEAN) / (alphas[0] ** 2 * DEVIATION**2 + visited.sigmas[0] ** 2) ** 0.5
        wanted = (
            float(last.alphas[0]) * MEAN + place * (last.alphas[0] ** 2 * DEVIATION**2 + last.sigmas[0] ** 2) ** 0.5
        )
        errors.append((reached[-2] - wanted).abs().max().item())
    order = np.log2(errors[1] / errors[2])
    assert order == pytest.approx(DETERMINISTIC[sampler], abs=0.35), errors


@pytest.mark.parametrize("sampler", ["ancestral", "ancestral large", "ddim half", "heun churned"])
@pytest.mark.parametrize("process", PROCESSES)
def test_stochastic_samplers_recover_normal_data(process, sampler):
    config = PROCESSES[process]
    visited = process_of(described(config)).levels(300, "log_snr")
    start = torch.randn(20_000, dtype=torch.float64) * float(visited.sigmas[0])

    def noise() -> Tensor:
        return torch.randn_like(start)

    if sampler == "heun churned":
        churned = process_of(described(config)).raised(visited, 0.1)
        x = heun(best(visited.joined(churned)), start, visited, noise, churned=churned)
    elif sampler == "ddim half":
        x = ddim(best(visited), start, visited, noise, eta=0.5)
    else:
        variance = "fixed_large" if sampler == "ancestral large" else "fixed_small"
        x = ancestral(best(visited), start, visited, noise, variance=variance)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.06)


@pytest.mark.parametrize("process", PROCESSES)
def test_one_step_gives_what_the_denoiser_says(process):
    visited = process_of(described(PROCESSES[process])).levels(1)
    start, _ = noises(0)
    says = toy(visited)(start, 0).x_0
    torch.testing.assert_close(ancestral(toy(visited), start, visited, replay([])), says)
    torch.testing.assert_close(ddim(toy(visited), start, visited, replay([])), says)
    torch.testing.assert_close(heun(toy(visited), start, visited, replay([])), says)
    for sampler in (euler, dpmpp_2m, unipc):
        torch.testing.assert_close(sampler(toy(visited), start, visited), says)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_callback_and_evaluations(sampler, steps):
    process = process_of(described(PROCESSES["discrete"]))
    visited = process.levels(steps)
    start, noise = noises(steps)
    asked: list[int] = []
    seen: list[int] = []

    def denoise(x: Tensor, i: int) -> Denoised:
        asked.append(i)
        return toy(visited)(x, i)

    def callback(i: int, x: Tensor, x_0: Tensor) -> None:
        assert x.shape == x_0.shape == start.shape
        seen.append(i)

    kept = start.clone()
    record = SAMPLERS[sampler]
    record.sample(
        denoise, start, visited, replay(noise), callback=callback, **record.options(Sampling(), process, visited)
    )
    assert seen == list(range(steps))
    assert len(asked) == record.evaluations(visited, process)
    assert torch.equal(start, kept), "the first noise is the caller's and stays as it is"


@pytest.mark.parametrize("process", ["flow", "zero terminal"])
def test_heun_asks_once_where_no_signal_is_left(process):
    visited = process_of(described(PROCESSES[process])).levels(6)
    asked: list[int] = []

    def denoise(x: Tensor, i: int) -> Denoised:
        asked.append(i)
        return toy(visited)(x, i)

    heun(denoise, noises(0)[0], visited, replay([]))
    assert len(asked) == 2 * 6 - 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_level_visited_twice_breaks_nothing(sampler):
    """As at the curve's bound, where very many steps no longer differ."""
    once = process_of(described(PROCESSES["continuous"])).levels(5)
    again = [0, 1, 1, 2, 3, 4]
    twice = Levels(once.alphas[again], once.sigmas[again], once.times[again])
    start, _ = noises(0)
    ends = []
    for visited in (once, twice):
        if sampler == "ancestral":
            ends.append(ancestral(best(visited), start, visited, lambda: torch.zeros_like(start)))
        else:
            ends.append(deterministic(sampler, visited, start))
    assert ends[1].isfinite().all()
    if sampler in ("ancestral", "ddim", "euler", "heun"):  # the others go on with first order from there
        torch.testing.assert_close(*ends)


def test_the_chain_of_a_spacing_is_visited():
    visited = process_of(described(PROCESSES["discrete"])).levels(7, "quadratic")
    assert np.round(visited.times * 1000 - 1).astype(int)[::-1].tolist() == spaced(1000, 7, "quadratic").tolist()
