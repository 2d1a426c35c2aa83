import numpy as np
import pytest
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.schedules import CURVES, LARGEST_BETA, schedule
from stepladder.errors import UserError

names = st.sampled_from(sorted(CURVES))


@given(names, st.integers(1, 4000))
def test_valid_at_every_number_of_timesteps(name, timesteps):
    tables = schedule(name, timesteps)
    assert tables.timesteps == timesteps
    assert tables.betas.dtype == tables.alphas_cumprod.dtype == np.float64
    assert (tables.betas > 0).all()
    assert (tables.betas <= LARGEST_BETA).all()
    signal = np.concatenate([[1.0], tables.alphas_cumprod])
    assert (np.diff(signal) < 0).all()
    assert signal[-1] > 0


@given(names, st.integers(1, 4000))
def test_steps_are_values_of_one_curve(name, timesteps):
    """Number of timesteps changes the discretisation and nothing else, up to the largest beta."""
    tables = schedule(name, timesteps)
    curve = CURVES[name](np.arange(1, timesteps + 1) / timesteps)
    clipped = np.isclose(tables.betas, LARGEST_BETA)
    assert not clipped[:-1].any()
    kept = slice(None, -1) if clipped[-1] else slice(None)
    np.testing.assert_allclose(tables.alphas_cumprod[kept], curve[kept], rtol=1e-9)


@pytest.mark.parametrize("name", sorted(CURVES))
def test_curves_start_at_all_signal_and_end_at_almost_none(name):
    assert CURVES[name](np.array([0.0])) == pytest.approx(1.0)
    assert CURVES[name](np.array([1.0])) < 1e-4


@pytest.mark.parametrize(("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_tables_at_the_published_number_of_timesteps(name, theirs):
    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs)
    tables = schedule(name, 1000)
    np.testing.assert_allclose(tables.betas, oracle.betas.double().numpy(), atol=1e-6)
    np.testing.assert_allclose(tables.alphas_cumprod, oracle.alphas_cumprod.double().numpy(), atol=1e-6)


def test_linear_betas_are_the_published_ones():
    np.testing.assert_allclose(schedule("linear", 1000).betas, np.linspace(1e-4, 0.02, 1000), rtol=1e-10)
    assert schedule("linear", 1000).alphas_cumprod[-1] == pytest.approx(4.04e-5, rel=2e-3)


@pytest.mark.parametrize("timesteps", [10, 20, 50, 100, 1000])
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


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(UserError, match="T=0 timesteps"):
        schedule("cosine", 0)
    with pytest.raises(UserError, match="no schedule 'sigmoid'; there are: linear, cosine"):
        schedule("sigmoid", 10)
