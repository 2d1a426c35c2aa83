import numpy as np
import pytest

from stepladder.evaluation.pictures.intervals import halves
from stepladder.evaluation.pictures.neighbours import distances, radii
from stepladder.evaluation.pictures.precision_recall import precision_recall, realistic, recall, recalls


def by_loops(points, others, k):
    """Kynkaanniemi et al. (2019), equation 1, averaged: which of ``points`` are in the manifold of ``others``."""
    inside = 0
    for p in points:
        for i, o in enumerate(others):
            reach = sorted(np.linalg.norm(o - q) for j, q in enumerate(others) if j != i)[k - 1]
            if np.linalg.norm(p - o) <= reach:
                inside += 1
                break
    return inside / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_against_the_definition(k):
    random = np.random.default_rng(0)
    drawn, real = random.normal(0.5, 0.8, size=(40, 3)), random.normal(size=(30, 3))
    found = precision_recall(drawn, real, k)
    assert found == (pytest.approx(by_loops(drawn, real, k)), pytest.approx(by_loops(real, drawn, k)))
    assert all(0 < value < 1 for value in found)


def test_on_a_line_by_hand():
    """Balls of the 1-nearest neighbour: real [0-1, 2], [1-1, 2], [10-9, 19]; drawn [1.5-0.5, 2], [2-0.5, 2.5], [30 +- 28]."""
    real, drawn = np.array([[0.0], [1.0], [10.0]]), np.array([[1.5], [2.0], [30.0]])
    assert precision_recall(drawn, real, 1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_the_same_set_and_far_sets():
    a = np.random.default_rng(0).normal(size=(50, 4))
    assert precision_recall(a, a) == (1, 1)
    assert precision_recall(a, a + 1000) == (0, 0)


def test_what_is_missing_costs_recall_and_what_is_too_much_precision():
    random = np.random.default_rng(0)
    left, right = random.normal(-9, 1, size=(2, 100, 2)), random.normal(9, 1, size=(2, 100, 2))
    one, both = left[0], np.concatenate([left[1], right[1]])
    precision, found = precision_recall(one, both)
    assert precision > 0.85
    assert found == pytest.approx(0.5, abs=0.08)
    assert precision_recall(both, one) == (found, precision)


def test_parts_are_what_the_parts_alone_give():
    random = np.random.default_rng(0)
    drawn, real = random.normal(size=(60, 3)), random.normal(size=(40, 3))
    kept = halves(np.arange(60) % 4, 20, 0)
    expected = [recall(distances(drawn[part], real), radii(drawn[part], 3)) for part in kept]
    assert recalls(distances(drawn, real), distances(drawn, drawn), kept) == pytest.approx(expected)
    assert len(set(expected)) > 3


def test_intervals_are_as_wide_as_recall_varies():
    random = np.random.default_rng(0)
    real = random.normal(size=(300, 6))
    drawn = random.normal(0.3, 0.9, size=(30, 400, 6))
    between = [distances(d, real) for d in drawn]
    true = np.std([recall(b, radii(d, 3)) for b, d in zip(between, drawn, strict=True)])
    estimated = [
        recalls(b, distances(d, d), halves(np.zeros(400), 100, i)).std()
        for i, (b, d) in enumerate(zip(between[:8], drawn[:8], strict=True))
    ]
    assert np.mean(estimated) == pytest.approx(true, rel=0.3)


def test_precision_is_the_mean_of_its_terms():
    random = np.random.default_rng(0)
    drawn, real = random.normal(size=(40, 3)), random.normal(size=(30, 3))
    assert realistic(distances(drawn, real), radii(real, 3)).mean() == precision_recall(drawn, real)[0]
