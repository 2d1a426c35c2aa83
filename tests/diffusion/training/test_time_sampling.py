import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from stepladder.diffusion.training.time_sampling import HISTORY, importance, log_sigmas, pick, remember, steps, times

MANY = 20_000


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["uniform", "stratified"])
def test_uniform_and_stratified_times_are_uniform(name):
    u = times(name, MANY, 0, 1, random())
    assert kstest(u.numpy(), "uniform").pvalue > 0.01
    assert ((u >= 0) & (u <= 1)).all()


@given(st.integers(1, 300), st.integers(0, 1000))
def test_stratified_times_are_one_in_each_stratum(size, seed):
    assert (times("stratified", size, 0, 1, random(seed)) * size).floor().tolist() == list(range(size))


def test_logit_normal_and_log_normal_have_their_densities():
    logit = torch.logit(times("logit_normal", MANY, 0.5, 1.5, random())).numpy()
    assert kstest(logit, norm(0.5, 1.5).cdf).pvalue > 0.01
    assert kstest(log_sigmas(MANY, -1.2, 1.2, random()).numpy(), norm(-1.2, 1.2).cdf).pvalue > 0.01


@pytest.mark.parametrize("timesteps", [1, 2, 10, 1000])
@pytest.mark.parametrize("name", ["uniform", "stratified"])
def test_every_step_is_as_likely(name, timesteps):
    t = steps(name, timesteps, MANY, 0, 1, random(), torch.linspace(-5, 5, timesteps))
    counts = torch.bincount(t, minlength=timesteps).double()
    expected = MANY / timesteps
    assert ((counts - expected).square() / expected).sum() < timesteps + 6 * (2 * timesteps) ** 0.5 + 3
    assert len(counts) == timesteps


def test_stratified_steps_are_each_once_where_there_are_as_many():
    assert steps("stratified", 50, 50, 0, 1, random(), torch.zeros(50)).tolist() == list(range(50))


def test_densities_choose_the_nearest_step():
    timesteps = 8
    u = times("logit_normal", 500, 0.3, 1.0, random()).numpy()
    t = steps("logit_normal", timesteps, 500, 0.3, 1.0, random(), torch.zeros(timesteps)).numpy()
    grid = np.arange(1, timesteps + 1) / timesteps
    np.testing.assert_array_equal(t, np.abs(u[:, None] - grid).argmin(1))
    table = torch.tensor([-4.0, -3.0, -1.0, 0.0, 0.5, 2.0, 5.0, 9.0], dtype=torch.float64)
    drawn = log_sigmas(500, 0, 3, random())
    nearest = (drawn[:, None] - table).abs().argmin(1)
    assert torch.equal(steps("log_normal", timesteps, 500, 0, 3, random(), table), nearest)


@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=40), min_size=1, max_size=8))
def test_history_keeps_the_last_losses_of_each_step(timesteps, batches):
    history, count = torch.zeros(timesteps, HISTORY), torch.zeros(timesteps, dtype=torch.int64)
    seen: list[list[float]] = [[] for _ in range(timesteps)]
    value = 0.0
    for batch in batches:
        t = torch.tensor(batch) % timesteps
        losses = torch.arange(len(batch)) + value
        value += len(batch)
        for step, loss in zip(t.tolist(), losses.tolist(), strict=True):
            seen[step].append(loss)
        history, count = remember(history, count, t, losses)
    assert count.tolist() == [len(s) for s in seen]
    for row, s in zip(history, seen, strict=True):
        kept = s[-HISTORY:]
        assert sorted(row.tolist()) == sorted(kept + [0.0] * (HISTORY - len(kept)))


def test_steps_are_uniform_until_all_have_a_full_history():
    history, count = torch.rand(5, HISTORY) * torch.arange(1, 6)[:, None], torch.full((5,), HISTORY)
    count[3] -= 1
    torch.testing.assert_close(importance(history, count), torch.full((5,), 0.2))
    count[3] += 1
    wanted = history.square().mean(1).sqrt()
    torch.testing.assert_close(importance(history, count), 0.999 * wanted / wanted.sum() + 0.001 / 5)


def test_losses_that_are_all_zero_leave_steps_possible():
    p = importance(torch.zeros(4, HISTORY), torch.full((4,), HISTORY))
    assert (p > 0).all()
    _, weight = pick(p, 100, random())
    assert weight.isfinite().all()


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.integers(0, 10))
def test_importance_weights_keep_the_expectation(losses, seed):
    """Exactly: the sum over t of p_t / (T p_t) L_t is the mean of L; and drawn means come near to it."""
    of = torch.tensor(losses, dtype=torch.float64)
    p = importance(of[:, None].expand(-1, HISTORY), torch.full((len(of),), HISTORY))
    t, weight = pick(p, 4000, random(seed))
    torch.testing.assert_close(weight, 1 / (len(of) * p[t]))
    values = weight * of[t]
    error = max(values.std().item() / 4000**0.5, 1e-9)
    assert abs(values.mean().item() - of.mean().item()) < 6 * error + 0.01 * of.mean().item()


def test_importance_draws_with_its_probabilities_and_steadies_the_loss():
    of = torch.tensor([8.0, 1.0, 0.5, 0.1])
    p = importance(of[:, None].expand(-1, HISTORY), torch.full((4,), HISTORY))
    t, weight = pick(p, MANY, random())
    torch.testing.assert_close(torch.bincount(t) / MANY, p, atol=0.02, rtol=0.1)
    uniform = of[torch.randint(4, (MANY,), generator=random())]
    assert (weight * of[t]).std() < 0.05 * uniform.std()
