import numpy as np
import pytest

from stepladder.evaluation.pictures.density_coverage import coverage, coverages, density_coverage, hits
from stepladder.evaluation.pictures.intervals import resampled
from stepladder.evaluation.pictures.neighbours import distances, radii


def by_loops(drawn, real, k):
    """Naeem et al. (2020), section 3."""
    inside, covered = 0, 0
    for i, r in enumerate(real):
        reach = sorted(np.linalg.norm(r - q) for j, q in enumerate(real) if j != i)[k - 1]
        held = sum(np.linalg.norm(d - r) <= reach for d in drawn)
        inside, covered = inside + held, covered + (held > 0)
    return inside / (k * len(drawn)), covered / len(real)


@pytest.mark.parametrize("k", [1, 5])
def test_against_the_definition(k):
    random = np.random.default_rng(0)
    drawn, real = random.normal(0.5, 0.8, size=(40, 3)), random.normal(size=(30, 3))
    assert density_coverage(drawn, real, k) == pytest.approx(by_loops(drawn, real, k))


def test_on_a_line_by_hand():
    """Balls of the 1-nearest neighbour: [-1, 1], [0, 2], [1, 19]; 1 lies in all three, 50 in none."""
    real, drawn = np.array([[0.0], [1.0], [10.0]]), np.array([[1.0], [50.0]])
    assert density_coverage(drawn, real, 1) == (pytest.approx(3 / 2), 1)


def test_equal_distributions_have_density_one_and_the_coverage_of_the_closed_form():
    """Naeem et al. (2020), lemma 2: 1 - (N - 1) ... (N - k) / ((2 N - 1) ... (2 N - k)) for N real and N drawn."""
    random = np.random.default_rng(0)
    n, k = 100, 5
    found = np.array([density_coverage(*random.normal(size=(2, n, 3)), k) for _ in range(200)])
    mean, error = found.mean(0), found.std(0) / np.sqrt(len(found))
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert abs(mean[0] - 1) < 4 * error[0]
    assert abs(mean[1] - expected) < 4 * error[1]


def test_an_outlier_among_the_real_hardly_changes_density():
    random = np.random.default_rng(0)
    real, drawn = random.normal(size=(100, 2)), random.normal(4, 1, size=(100, 2))
    before = density_coverage(drawn, real)[0]
    after = density_coverage(drawn, np.concatenate([real, [[60.0, 60.0]]]))[0]
    assert before < 0.1
    assert after - before < 0.25  # precision would be 1


def test_parts_are_what_the_parts_alone_give():
    random = np.random.default_rng(0)
    drawn, real = random.normal(size=(20, 3)), random.normal(size=(60, 3))
    inside = hits(distances(drawn, real), radii(real, 2))
    rows = resampled(np.arange(20) % 3, 15, 0)
    present = np.zeros((15, 20), dtype=bool)
    np.put_along_axis(present, rows, True, axis=1)
    expected = [coverage(inside[r]) for r in rows]
    assert coverages(inside, present) == pytest.approx(expected)
    assert len(set(expected)) > 3
