import numpy as np
import pytest

from stepladder.evaluation.pictures.kernel_distance import (
    from_kernels,
    from_resampled_kernels,
    kernel,
    kernel_distance,
    within,
)


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


def test_zero_in_expectation_where_the_shares_of_classes_are_fixed():
    """Ten far classes, the same shares in both sets: without the classes the estimate is far below zero."""
    random = np.random.default_rng(0)
    centres = 3 * random.normal(size=(10, 6))
    one, other = np.repeat(np.arange(10), 6), np.repeat(np.arange(10), 3)
    draws = [
        (centres[one] + random.normal(size=(60, 6)), centres[other] + random.normal(size=(30, 6))) for _ in range(800)
    ]
    found = np.array([kernel_distance(a, b, one, other) for a, b in draws])
    naive = np.array([kernel_distance(a, b) for a, b in draws])
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
    assert naive.mean() < -20 * naive.std() / np.sqrt(len(naive))


def test_a_class_with_one_picture():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert np.isfinite(kernel_distance(a, b, np.arange(4), np.arange(4)))


def test_resampled_without_copies():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(30, 4)), random.normal(size=(20, 4))
    rows, labels = random.integers(30, size=30), np.arange(30) % 3
    own, other, between = within(kernel(a, a), labels), within(kernel(b, b), np.zeros(20, dtype=int)), kernel(a, b)
    expected = from_kernels(own[np.ix_(rows, rows)], other, between[rows])
    assert from_resampled_kernels(own, other, between, rows) == pytest.approx(expected)
