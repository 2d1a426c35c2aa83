import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from stepladder.evaluation.pictures import memorisation
from stepladder.evaluation.pictures.memorisation import nearest, ratio, threshold


def pictures(n, seed, shape=(3, 8, 8)):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape), dtype=np.uint8)


def test_against_scikit_learn_whatever_the_block(monkeypatch):
    drawn, training = pictures(40, 0), pictures(90, 1)
    flat = [p.reshape(len(p), -1).astype(float) for p in (drawn, training)]
    expected = NearestNeighbors(n_neighbors=1).fit(flat[1]).kneighbors(flat[0])[0][:, 0] / np.sqrt(3 * 64)
    assert nearest(drawn, training) == pytest.approx(expected)
    monkeypatch.setattr(memorisation, "BLOCK", 7)
    assert nearest(drawn, training) == pytest.approx(expected)


def test_a_copy_is_at_no_distance_and_one_grey_level_at_one():
    training = pictures(50, 0)
    assert (nearest(training[7:9], training) == 0).all()
    assert nearest(training[:1] // 2 * 2 ^ 1, training // 2 * 2) == pytest.approx([1])


def test_the_percentile_and_the_ratio():
    held_out = np.arange(1, 102, dtype=float)
    assert threshold(held_out) == pytest.approx(2)
    assert ratio(held_out, held_out) == 1
    assert ratio(held_out / 4, held_out) == pytest.approx(0.25)
    assert ratio(held_out, np.zeros(5)) is None


def test_new_pictures_are_not_memorised_and_repeated_ones_are():
    training, held_out, new = pictures(300, 0), pictures(400, 1), pictures(400, 2)
    yardstick = nearest(held_out, training)
    assert (nearest(new, training) < threshold(yardstick)).mean() < 0.04
    noisy = np.clip(training.astype(int) + np.random.default_rng(3).integers(-9, 10, training.shape), 0, 255)
    assert (nearest(noisy.astype(np.uint8), training) < threshold(yardstick)).all()
