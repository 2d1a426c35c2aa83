import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from stepladder.evaluation.pictures.intervals import bootstrap_interval, proportion, resample

finite = st.floats(-100, 100)


def test_a_mean_is_inside_as_often_as_claimed():
    random = np.random.default_rng(0)
    inside, trials = 0, 400
    for trial in range(trials):
        sample = random.normal(5, 1, size=60)
        resampled = resample(lambda rows, sample=sample: float(sample[rows].mean()), np.zeros(60), 200, trial)
        low, high = bootstrap_interval(float(sample.mean()), resampled, 0.9)
        inside += low <= 5 <= high
    assert inside / trials == pytest.approx(0.9, abs=0.05)


def test_the_bias_of_resampling_is_left_out():
    """The squared length of a mean is biased upwards by the variance over n, and twice as much when resampled."""
    random = np.random.default_rng(0)
    inside, trials = 0, 300
    for trial in range(trials):
        sample = random.normal(0.3, 1, size=(100, 10))
        resampled = resample(lambda rows, s=sample: float((s[rows].mean(0) ** 2).sum()), np.zeros(100), 200, trial)
        low, high = bootstrap_interval(float((sample.mean(0) ** 2).sum()), resampled, 0.95)
        inside += low <= 10 * 0.3**2 + 10 / 100 <= high
    assert inside / trials == pytest.approx(0.95, abs=0.04)


@given(finite, st.lists(finite, min_size=2, max_size=20), st.floats(0.5, 0.99))
def test_the_estimate_is_always_inside(estimate, resampled, confidence):
    low, high = bootstrap_interval(estimate, np.array(resampled), confidence)
    assert low <= estimate <= high


def test_resampling_is_a_function_of_the_seed():
    first, again, other = (resample(lambda rows: float(rows.sum()), np.zeros(10), 5, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_resampling_keeps_the_shares_of_the_strata():
    strata = np.array([0, 1, 1, 2, 2, 2, 2])
    drawn: list[list[int]] = []
    resample(lambda rows: float(drawn.append(np.bincount(strata[rows]).tolist()) or 0), strata, 20, 0)
    assert drawn == [[1, 2, 4]] * 20


def test_a_mean_of_far_strata_varies_only_within_them():
    random = np.random.default_rng(0)
    strata = np.repeat([0, 1], 50)
    inside, trials = 0, 300
    for trial in range(trials):
        sample = 100 * strata + random.normal(size=100)
        resampled = resample(lambda rows, s=sample: float(s[rows].mean()), strata, 200, trial)
        low, high = bootstrap_interval(float(sample.mean()), resampled, 0.9)
        assert high - low < 1
        inside += low <= 50 <= high
    assert inside / trials == pytest.approx(0.9, abs=0.05)


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.5, 0.99))
def test_wilson(trials, share, confidence):
    """The two shares whose score test the observed one just passes."""
    successes = round(share * trials)
    low, high = proportion(successes, trials, confidence)
    assert 0 <= low <= successes / trials <= high <= 1
    z = norm.ppf((1 + confidence) / 2)
    for bound in (low, high):
        if 0 < bound < 1:
            score = abs(successes / trials - bound) / np.sqrt(bound * (1 - bound) / trials)
            assert score == pytest.approx(z, rel=1e-4)
