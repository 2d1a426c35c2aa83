from dataclasses import replace

import numpy as np
import pytest
import torch

from stepladder.data.image_arrays import ImageArrays
from stepladder.evaluation.pictures.held_out import alike, condition, rows
from tests.describing import described_model
from tests.digits import prepared, without_classes


@pytest.mark.parametrize("count", [10, 40, 60, 360, 720])
def test_classes_are_those_of_the_held_out_pictures_one_a_column(count):
    test = ImageArrays.open(prepared(), "test")
    numbers = rows(test, count)
    labels = condition(test, numbers, described_model({"classes": test.card["classes"], "model": {}}))["labels"]
    assert len(labels) == count
    assert (labels.numpy() == test.labels[numbers]).all()
    strip = labels[:40].view(-1, 10)
    assert (strip == torch.arange(10)).all()
    if count >= 360:
        shares = torch.bincount(labels) / count - torch.bincount(torch.from_numpy(test.labels)) / len(test.labels)
        assert shares.abs().max() < 0.01
        asked = np.bincount(numbers, minlength=len(test.labels))
        assert asked.max() - asked.min() <= 1, "every picture about as often"


def test_without_classes_all_in_turn(tmp_path):
    test = ImageArrays.open(without_classes(tmp_path / "images"), "test")
    assert rows(test, 400).tolist() == [*range(359), *range(41)]
    assert condition(test, rows(test, 5), described_model({"classes": [], "model": {}}))["labels"].tolist() == [0] * 5


def test_texts_are_those_of_the_pictures_asked_for():
    test = ImageArrays.open(prepared(), "test")
    told = replace(test, texts=np.arange(2 * len(test.labels)).reshape(-1, 2))
    asked = condition(told, np.array([4, 9]), described_model({"classes": [], "model": {"vocabulary": 1000}}))
    assert asked["text"].tolist() == [[8, 9], [18, 19]]
    assert "text" not in condition(told, np.array([4, 9]), described_model({"classes": [], "model": {}}))


def test_pictures_of_the_same_classes_are_drawn_anew_with_each_seed():
    labels, wanted = np.array([0, 1, 2] * 40), np.array([0] * 30 + [1] * 50 + [3])
    numbers = alike(labels, wanted, seed=0)
    assert np.bincount(labels[numbers]).tolist() == [30, 40], "of a class that has fewer all, of others none"
    assert len(set(numbers.tolist())) == 70
    assert alike(labels, wanted, seed=0).tolist() == numbers.tolist()
    assert alike(labels, wanted, seed=1).tolist() != numbers.tolist()
    assert alike(np.full(9, -1), np.full(5, -1), seed=0).tolist() == sorted(np.random.default_rng(0).permutation(9)[:5])
