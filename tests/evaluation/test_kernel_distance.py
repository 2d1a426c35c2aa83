import numpy as np
import pytest

from stepladder.evaluation.kernel_distance import from_kernels, from_resampled_kernels, kernel, kernel_distance


def by_loops(a, b):
    def k(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_against_the_definition():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(9, 5)), random.normal(0.5, 2, size=(7, 5))
    assert kernel_distance(a, b) == pytest.approx(by_loops(a.tolist(), b.tolist()))
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a))


def test_zero_in_expectation_for_equal_distributions():
    random = np.random.default_rng(0)
    found = np.array([kernel_distance(*random.normal(size=(2, 20, 4))) for _ in range(2000)])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
    assert (found < 0).any()


def test_grows_with_the_distance():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 100, 4))
    found = [kernel_distance(a, b + shift) for shift in (0, 0.5, 1, 2)]
    assert found == sorted(found)


def test_resampled_without_copies():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(30, 4)), random.normal(size=(20, 4))
    rows = random.integers(30, size=30)
    own, other, between = kernel(a, a), kernel(b, b), kernel(a, b)
    expected = from_kernels(own[np.ix_(rows, rows)], other, between[rows])
    assert from_resampled_kernels(own, other, between, rows) == pytest.approx(expected)
    assert expected == pytest.approx(kernel_distance(a[rows], b))
