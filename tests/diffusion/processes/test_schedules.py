import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import rescale_zero_terminal_snr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import laplace

from stepladder.diffusion.processes.schedules import (
    CURVES,
    LARGEST_BETA,
    Schedule,
    curve,
    of_description,
    schedule,
    zero_terminal,
)
from stepladder.errors import UserError
from tests.describing import described

names = st.sampled_from(sorted(CURVES))
NAMED = {*CURVES, "squaredcos_cap_v2"}
BETAS = [0.01, 0.1, 0.3, 0.9]


@st.composite
def configs(draw):
    """Every schedule that is a curve, the user's own among them."""
    name = draw(st.sampled_from([*sorted(CURVES), "log_snr"]))
    config = {"schedule": name, "timesteps": draw(st.integers(1, 4000))}
    if name == "log_snr":
        falls = draw(st.lists(st.floats(0.5, 8), min_size=1, max_size=5))
        config["log_snr"] = [20.0, *(20 - np.cumsum(falls))]
    return config


@pytest.mark.filterwarnings("ignore:diffusion.log_snr leaves")
@given(configs())
def test_valid_at_every_number_of_timesteps(config):
    tables = of_description(described(config))
    assert tables.timesteps == config["timesteps"] == len(tables.alphas_cumprod)
    assert tables.betas.dtype == tables.alphas_cumprod.dtype == np.float64
    assert (tables.betas > 0).all()
    assert (tables.betas <= 1).all()
    signal = np.concatenate([[1.0], tables.alphas_cumprod])
    assert (np.diff(signal) < 0).all()
    assert signal[-1] > 0


@pytest.mark.filterwarnings("ignore:diffusion.log_snr leaves")
@given(configs())
def test_steps_are_values_of_one_curve_to_the_last(config):
    """T changes the discretisation and nothing else; only the cosine's last step is capped, as published."""
    tables, timesteps = of_description(described(config)), config["timesteps"]
    signal = 1 / (1 + np.exp(-curve(described(config))(np.arange(1, timesteps + 1) / timesteps)))
    kept = slice(None, -1) if config["schedule"] == "cosine" else slice(None)
    np.testing.assert_allclose(tables.alphas_cumprod[kept], signal[kept], rtol=1e-7)
    if config["schedule"] == "cosine":
        assert tables.betas[-1] == pytest.approx(LARGEST_BETA)
        assert (tables.betas[:-1] < LARGEST_BETA).all()


@given(configs(), st.floats(0, 1), st.floats(0, 1))
def test_log_snr_falls_from_data_to_noise(config, u, w):
    log_snr = curve(described(config))
    values = log_snr(np.array(sorted([u, w])))
    assert (np.abs(values) <= 20 + 1e-9).all()
    assert values[1] <= values[0]
    if abs(u - w) > 1e-3 and (np.abs(values) < 20).all():
        assert values[1] < values[0]


@pytest.mark.parametrize(
    ("name", "last"),
    [("linear", 0.00635), ("scaled_linear", 0.06826), ("sigmoid", 0.0063), ("laplace", 0.03161), ("cosine", 0)],
)
def test_curves_leave_the_published_signal(name, last):
    assert np.sqrt(CURVES[name](np.array([1.0]))) == pytest.approx(last, abs=1e-5)
    assert CURVES[name](np.array([0.0])) == pytest.approx(1, abs=1.1e-3)


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("linear", "linear", {}),
        ("cosine", "squaredcos_cap_v2", {}),
        ("sigmoid", "sigmoid", {}),
        ("scaled_linear", "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
    ],
)
def test_tables_at_the_published_number_of_timesteps(name, theirs, options):
    """The oracle computes in float32: a relative 1e-6 of the betas, of their sums in alphas_cumprod 1e-5."""
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs, **options)
    tables = schedule(name, 1000)
    np.testing.assert_allclose(tables.betas, oracle.betas.double().numpy(), rtol=3e-6, atol=1e-9)
    np.testing.assert_allclose(tables.alphas_cumprod, oracle.alphas_cumprod.double().numpy(), rtol=3e-5)


def test_linear_betas_are_the_published_ones():
    np.testing.assert_allclose(schedule("linear", 1000).betas, np.linspace(1e-4, 0.02, 1000), rtol=1e-10)
    assert schedule("linear", 1000).alphas_cumprod[-1] == pytest.approx(4.04e-5, rel=2e-3)


def test_stable_diffusion_has_the_published_signal_to_noise_ratio_at_its_end():
    left = schedule("scaled_linear", 1000).alphas_cumprod[-1]
    assert left / (1 - left) == pytest.approx(0.004682, rel=1e-3)


def test_laplace_is_the_quantile_of_its_distribution():
    u = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(curve(described({"schedule": "laplace"}))(u), laplace.ppf(1 - u, scale=0.5), atol=1e-4)


def test_laplace_is_the_square_of_diffusers_table():
    theirs = DDPMScheduler(num_train_timesteps=1000, beta_schedule="laplace").alphas_cumprod.double().numpy()
    ours = schedule("laplace", 1000).alphas_cumprod
    np.testing.assert_allclose(ours / CURVES["laplace"](np.zeros(1)), theirs**2, rtol=1e-4)


@pytest.mark.parametrize("timesteps", [1, 2, 10, 20, 50, 100, 1000])
def test_linear_leaves_as_little_signal_at_every_number_of_timesteps(timesteps):
    assert np.sqrt(schedule("linear", timesteps).alphas_cumprod[-1]) == pytest.approx(0.0064, abs=2e-4)


@pytest.mark.parametrize(("timesteps", "left"), [(10, 4.9e-3), (20, 2.5e-3), (50, 1e-3), (100, 5e-4), (1000, 5e-5)])
def test_cosine_leaves_the_published_signal(timesteps, left):
    assert np.sqrt(schedule("cosine", timesteps).alphas_cumprod[-1]) == pytest.approx(left, rel=0.03)


@given(names, st.integers(1, 300), st.data())
def test_a_respaced_chain_has_the_signal_of_the_steps_it_visits(name, timesteps, data):
    steps = np.array(sorted(data.draw(st.sets(st.integers(0, timesteps - 1), min_size=1))))
    tables = schedule(name, timesteps)
    chain = tables.respaced(steps)
    np.testing.assert_allclose(chain.alphas_cumprod, tables.alphas_cumprod[steps])
    np.testing.assert_allclose(np.cumprod(1 - chain.betas), chain.alphas_cumprod, rtol=1e-6)
    assert ((chain.betas > 0) & (chain.betas < 1)).all()


@given(names, st.integers(1, 300))
def test_respacing_to_all_steps_changes_nothing(name, timesteps):
    tables = schedule(name, timesteps)
    np.testing.assert_allclose(tables.respaced(np.arange(timesteps)).betas, tables.betas, rtol=1e-9)


def test_own_log_snr_is_followed_between_its_points():
    config = {"schedule": "log_snr", "log_snr": [8.0, 0.0, -16.0], "timesteps": 4}
    np.testing.assert_allclose(curve(described(config))(np.array([0, 0.25, 0.5, 0.75, 1])), [8, 4, 0, -8, -16])
    signal = of_description(described(config)).alphas_cumprod
    np.testing.assert_allclose(np.log(signal / (1 - signal)), [4, 0, -8, -16])


def test_own_betas_are_taken_as_they_are_and_what_signal_they_leave_is_said():
    config = {"schedule": "betas", "betas": BETAS, "timesteps": 4}
    with pytest.warns(UserWarning, match=r"diffusion.betas leaves 25.0% of the signal at the last of T=4 steps"):
        tables = of_description(described(config))
    np.testing.assert_array_equal(tables.betas, BETAS)
    np.testing.assert_allclose(tables.alphas_cumprod, [0.99, 0.891, 0.6237, 0.06237])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert of_description(described(config | {"betas": [*BETAS[:3], 0.999]})).alphas_cumprod[-1] < 0.05**2
        assert of_description(described(config | {"zero_terminal_snr": True})).alphas_cumprod[-1] == 0


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "sigmoid"])
@pytest.mark.parametrize("timesteps", [2, 10, 1000])
def test_zero_terminal_snr_is_that_of_diffusers(name, timesteps):
    tables = schedule(name, timesteps)
    rescaled = zero_terminal(tables)
    theirs = rescale_zero_terminal_snr(torch.tensor(tables.betas)).numpy()
    np.testing.assert_allclose(rescaled.betas, theirs, rtol=1e-9)
    assert rescaled.alphas_cumprod[-1] == 0
    assert rescaled.betas[-1] == 1
    assert rescaled.alphas_cumprod[0] == pytest.approx(tables.alphas_cumprod[0])


@given(names, st.integers(1, 4000))
def test_zero_terminal_snr_is_valid_at_every_number_of_timesteps(name, timesteps):
    tables = of_description(described({"schedule": name, "timesteps": timesteps, "zero_terminal_snr": True}))
    assert ((tables.betas > 0) & (tables.betas <= 1)).all()
    assert (np.diff(tables.alphas_cumprod) < 0).all()
    assert tables.alphas_cumprod[-1] == 0


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(UserError, match="T=0 timesteps"):
        schedule("cosine", 0)
    with pytest.raises(UserError, match="no schedule 'quadratic'; there are: linear, scaled_linear, cosine"):
        schedule("quadratic", 10)
    with pytest.raises(UserError, match="has 4 values for T=5"):
        of_description(described({"schedule": "betas", "betas": BETAS, "timesteps": 5}))
    with pytest.raises(UserError, match="'betas' is not a curve"):
        curve(described({"schedule": "betas", "betas": BETAS}))
    assert isinstance(of_description(described({"schedule": "cosine", "timesteps": 3})), Schedule)


def peers(name: str, timesteps: int) -> float:
    """Signal left at the last step by diffusers, or by improved-diffusion's formula; NaN where that refuses its betas."""
    library, schedule_name = name.split()
    if library == "improved-diffusion":
        betas = np.linspace(0.1 / timesteps, 20 / timesteps, timesteps)
        return float(np.prod(1 - betas) ** 0.5) if betas.max() <= 1 + 1e-12 else float("nan")
    options = {"beta_start": 0.00085, "beta_end": 0.012} if schedule_name == "scaled_linear" else {}
    oracle = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=schedule_name, **options)
    return float(oracle.alphas_cumprod[-1].sqrt())


def test_the_page_says_what_each_schedule_leaves():
    rows = [line.strip("| \n").split(" | ") for line in Path("docs/objectives.md").read_text().splitlines()]
    table = {cells[0]: cells[1:] for cells in rows if cells[0] == "T" or cells[0].split(" ")[-1] in NAMED}
    timesteps = [int(cell) for cell in table.pop("T")]
    assert len(table) == 11
    for name, cells in table.items():
        for t, cell in zip(timesteps, cells, strict=True):
            if name.startswith("Stepladder"):
                left = schedule(name.split()[1], t).alphas_cumprod[-1] ** 0.5
            else:
                left = peers(name, t)
            if np.isnan(left):
                assert cell == "refused"
            else:
                assert float(cell) == pytest.approx(left, abs=5.2e-5), (name, t)
