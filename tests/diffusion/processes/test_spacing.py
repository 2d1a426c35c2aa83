import numpy as np
import pytest
from diffusers import DDIMScheduler, EulerDiscreteScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.diffusion.processes.schedules import schedule
from stepladder.diffusion.processes.spacing import SPACINGS, ladder, spaced
from stepladder.errors import UserError

PLAIN = ("trailing", "leading", "linspace", "quadratic")


def log_sigmas(timesteps: int) -> np.ndarray:
    signal = schedule("cosine", timesteps).alphas_cumprod
    return np.log((1 - signal) / signal) / 2


@given(st.integers(1, 5000), st.data(), st.sampled_from(SPACINGS))
@settings(max_examples=400)
def test_different_increasing_steps_in_range(timesteps, data, spacing):
    count = data.draw(st.integers(1, timesteps))
    steps = spaced(timesteps, count, spacing, log_sigmas(timesteps))
    assert steps.shape == (count,)
    assert steps.dtype == np.int64
    assert (np.diff(steps) > 0).all()
    assert steps[0] >= 0
    assert steps[-1] < timesteps
    if spacing == "leading":
        assert steps[0] == 0
    else:
        assert steps[-1] == timesteps - 1


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("timesteps", [1, 2, 3, 7, 40])
def test_every_number_of_steps_of_a_small_chain(timesteps, spacing):
    for count in range(1, timesteps + 1):
        assert len(set(spaced(timesteps, count, spacing, log_sigmas(timesteps)).tolist())) == count
    assert spaced(timesteps, timesteps, spacing, log_sigmas(timesteps)).tolist() == list(range(timesteps))


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize(("timesteps", "count"), [(1000, 50), (1000, 10), (1000, 1000), (200, 5), (10, 2)])
def test_the_same_steps_as_diffusers(timesteps, count, spacing):
    oracle = DDIMScheduler(num_train_timesteps=timesteps, timestep_spacing=spacing)
    oracle.set_timesteps(count)
    assert spaced(timesteps, count, spacing)[::-1].tolist() == oracle.timesteps.tolist()


def test_quadratic_is_denser_near_the_data():
    assert spaced(1000, 5, "quadratic").tolist() == [0, 62, 250, 562, 999]


@pytest.mark.parametrize("count", [0, -1, 11])
def test_steps_out_of_range_are_refused(count):
    with pytest.raises(UserError, match=f"S={count} sampling steps given for a model of T=10; S must be 1 to 10"):
        spaced(10, count)


@pytest.mark.parametrize("count", [1, 5])
def test_an_unknown_spacing_is_refused(count):
    with pytest.raises(UserError, match="no spacing 'even'; there are: trailing, leading"):
        spaced(10, count, "even")


def test_the_ladder_of_karras_is_that_of_diffusers():
    oracle = EulerDiscreteScheduler(use_karras_sigmas=True, sigma_min=0.002, sigma_max=80.0)
    oracle.set_timesteps(18)
    ours = np.exp(ladder(np.log(0.002), np.log(80.0), 18, "karras"))
    np.testing.assert_allclose(ours, oracle.sigmas[:-1].numpy(), rtol=1e-5)


def test_even_steps_of_log_snr_are_as_even_as_the_timesteps_allow():
    chosen = log_sigmas(4000)[spaced(4000, 20, "log_snr", log_sigmas(4000))]
    even = np.linspace(chosen[0], np.log(80), 20)
    assert np.abs(chosen - even)[:-1].max() < 0.3 * (even[1] - even[0])


def test_karras_steps_are_near_its_ladder():
    chosen = log_sigmas(4000)[spaced(4000, 12, "karras", log_sigmas(4000))]
    wanted = ladder(chosen[0], np.log(80), 12, "karras")[::-1]
    assert np.abs(chosen - wanted)[:-1].max() < 0.15
