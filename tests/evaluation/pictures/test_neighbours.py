import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from stepladder.evaluation.pictures import neighbours
from stepladder.evaluation.pictures.neighbours import distances, kth_nearest, radii


def test_distances_are_euclidean():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(20, 5)), random.normal(3, 2, size=(30, 5))
    assert distances(a, b) == pytest.approx(cdist(a, b))
    assert distances(a, a).diagonal() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_radii_are_those_of_scikit_learn_whatever_the_block(k, monkeypatch):
    features = np.random.default_rng(0).normal(size=(50, 4))
    expected = NearestNeighbors(n_neighbors=k).fit(features).kneighbors()[0][:, -1]
    assert radii(features, k) == pytest.approx(expected)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    assert radii(features, k) == pytest.approx(expected)


def test_of_few_the_farthest():
    assert radii(np.array([[0.0], [1.0], [5.0]]), 9) == pytest.approx([5, 4, 5])


def test_a_twin_is_another():
    features = np.array([[0.0], [0.0], [3.0]])
    assert radii(features, 1) == pytest.approx([0, 0, 3])
    assert kth_nearest(distances(features, features), np.arange(3), 2) == pytest.approx([3, 3, 3])
