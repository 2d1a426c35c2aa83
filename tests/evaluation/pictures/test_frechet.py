import numpy as np
import pytest
from scipy.linalg import sqrtm

from stepladder.evaluation.pictures.frechet import frechet_distance, frechet_to, normal, too_wide
from stepladder.evaluation.pictures.intervals import bootstrap_interval, resampled


def features(n, d, seed, rank=None):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, rank or d)) @ random.normal(size=(rank or d, d)) + random.normal(size=d)


def published(a, b):
    """Heusel et al. (2017), equation 6, with the root of the product of the covariances."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    difference = a.mean(0) - b.mean(0)
    return difference @ difference + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)


@pytest.mark.parametrize(("n", "m", "d"), [(50, 60, 2), (200, 100, 16), (300, 300, 64)])
def test_against_the_published_form(n, m, d):
    a, b = features(n, d, 0), features(m, d, 1)
    assert frechet_distance(a, b) == pytest.approx(published(a, b), rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)


def test_the_closed_form_of_one_dimension():
    a, b = features(80, 1, 0), features(50, 1, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_independent_features_add_up():
    """For commuting covariances: |difference of means|^2 + sum of squared differences of deviations."""
    corners = np.array([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    a, b = corners * [1, 2], corners * [3, 1] + [5, 0]
    unbiased = 4 / 3
    assert frechet_distance(a, b) == pytest.approx(25 + unbiased * ((1 - 3) ** 2 + (2 - 1) ** 2))


def test_nothing_to_itself_even_where_the_covariance_is_singular():
    a = features(20, 32, 0, rank=5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5 * np.trace(np.cov(a, rowvar=False)))


def test_a_shift_costs_its_square_and_a_rotation_nothing():
    a, b = features(200, 8, 0), features(200, 8, 1)
    assert frechet_distance(a, a + 2.0) == pytest.approx(8 * 4)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(frechet_distance(a, b))


@pytest.mark.parametrize(("each", "least", "most"), [(2, 1.3, 2.5), (8, 1.0, 1.7), (12, 0.85, 1.5)])
def test_the_interval_is_never_too_narrow_and_said_to_be_too_wide_below_eight_a_feature(each, least, most):
    """Resampled spread over the true one, of other draws of as many pictures; and how often the interval has the mean."""
    dimension, random = 32, np.random.default_rng(0)
    scale = np.geomspace(1, 0.05, dimension)
    reference = normal(random.normal(size=(4000, dimension)) * scale)
    draws = [1.1 * scale * random.normal(size=(each * dimension, dimension)) + 0.05 for _ in range(150)]
    true = np.array([frechet_to(x, reference) for x in draws])
    spreads, inside = [], 0
    for number, x in enumerate(draws[:20]):
        varied = np.array([frechet_to(x[r], reference) for r in resampled(np.zeros(len(x)), 60, number)])
        spreads.append(varied.std())
        low, high = bootstrap_interval(true[number], varied, 0.95)
        inside += low <= true.mean() <= high
    assert least < np.mean(spreads) / true.std() < most
    assert inside >= 17
    assert bool(too_wide(each * dimension, dimension)) == (each < 8)
