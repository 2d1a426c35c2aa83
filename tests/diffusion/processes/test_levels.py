import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.processes.processes import PROCESSES, process_of
from stepladder.diffusion.processes.schedules import schedule
from stepladder.diffusion.processes.spacing import SPACINGS
from stepladder.errors import UserError
from tests.describing import described


def config(process: str, timesteps: int = 200, **changes) -> dict:
    return {"process": process, "schedule": "cosine", "timesteps": timesteps} | changes


@given(st.sampled_from(sorted(PROCESSES)), st.sampled_from(SPACINGS), st.integers(1, 400), st.data())
def test_levels_fall_from_noise_towards_the_data(process, spacing, timesteps, data):
    steps = data.draw(st.integers(1, timesteps))
    made = process_of(described(config(process, timesteps))).levels(steps, spacing)
    assert made.alphas.shape == made.sigmas.shape == made.times.shape == (steps,)
    assert (np.diff(made.log_sigmas()) < 0).all()
    assert (made.sigmas > 0).all()
    assert (made.alphas >= 0).all()
    assert ((made.times > 0) | ((made.times == 0) & (process == "edm"))).all()
    assert (made.times <= 1).all()
    if spacing != "leading":
        assert made.times[0] == 1


def test_a_discrete_model_is_told_its_timestep():
    made = process_of(described(config("discrete"))).levels(4)
    assert made.times.tolist() == [1, 0.75, 0.5, 0.25]
    signal = schedule("cosine", 200).alphas_cumprod[[199, 149, 99, 49]]
    np.testing.assert_allclose(made.alphas**2, signal)
    np.testing.assert_allclose(made.sigmas**2, 1 - signal)


def test_other_processes_have_their_own_levels():
    flow = process_of(described(config("flow"))).levels(4)
    np.testing.assert_allclose((flow.alphas, flow.sigmas), ([0, 0.25, 0.5, 0.75], [1, 0.75, 0.5, 0.25]))
    edm = process_of(described(config("edm"))).levels(18, "karras")
    assert (edm.alphas == 1).all()
    np.testing.assert_allclose(edm.sigmas[[0, -1]], [80, 0.002])
    root = np.diff(edm.sigmas ** (1 / 7))
    np.testing.assert_allclose(root, root[0])
    vp = process_of(described(config("continuous"))).levels(10)
    np.testing.assert_allclose(vp.alphas**2 + vp.sigmas**2, 1)


@pytest.mark.parametrize("process", PROCESSES)
def test_raised_levels_are_at_least_as_noisy(process):
    made = process_of(described(config(process))).levels(20)
    up = process_of(described(config(process))).raised(made, 0.2)
    with np.errstate(invalid="ignore"):
        gain = (up.log_sigmas() - made.log_sigmas())[1:]
    assert (gain >= 0).all()
    if not PROCESSES[process].has_steps:
        np.testing.assert_allclose(gain, np.log(1.2), rtol=1e-6)
    assert (up.times >= made.times).all()


@pytest.mark.parametrize("timesteps", [10, 50, 1000])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("gamma", [1e-4, 0.01, 0.1, 2**0.5 - 1])
def test_of_a_discrete_model_the_nearest_step_is_taken(timesteps, zero, gamma):
    """``round_sigma`` of iDDPMPrecond in NVlabs/edm: the argmin of |sigma - wanted| over all steps."""
    given = config("discrete") | {"timesteps": timesteps, "zero_terminal_snr": zero}
    made, every = process_of(described(given)).levels(10), process_of(described(given)).levels(timesteps)
    up = process_of(described(given)).raised(made, gamma)
    for i in range(int(zero), 10):
        wanted = made.sigmas[i] / made.alphas[i] * (1 + gamma)
        known = slice(int(zero), None)
        nearest = np.abs(every.sigmas[known] / every.alphas[known] - wanted).argmin()
        assert up.times[i] == every.times[known][nearest]
    assert (up.times >= made.times).all()
    if timesteps == 10 and gamma < 0.1:
        np.testing.assert_array_equal(up.times, made.times)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("steps", [0, 201])
@pytest.mark.parametrize("spacing", ["trailing", "karras"])
def test_steps_out_of_range_are_refused(process, steps, spacing):
    with pytest.raises(UserError, match=f"S={steps} sampling steps given for a model of T=200; S must be 1 to 200"):
        process_of(described(config(process))).levels(steps, spacing)
