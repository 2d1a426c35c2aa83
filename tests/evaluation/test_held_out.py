from dataclasses import replace

import numpy as np
import pytest
import torch

from stepladder.data.images import ImageArrays
from stepladder.evaluation.held_out import condition, rows
from tests.digits import prepared, without_classes


@pytest.mark.parametrize("count", [10, 40, 60, 360, 720])
def test_classes_are_those_of_the_held_out_pictures_one_a_column(count):
    test = ImageArrays.open(prepared(), "test")
    numbers = rows(test, count)
    labels = condition(test, numbers, {"classes": test.card["classes"], "model": {}})["labels"]
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
    assert condition(test, rows(test, 5), {"classes": [], "model": {}})["labels"].tolist() == [0] * 5


def test_texts_are_those_of_the_pictures_asked_for():
    test = ImageArrays.open(prepared(), "test")
    told = replace(test, texts=np.arange(2 * len(test.labels)).reshape(-1, 2))
    asked = condition(told, np.array([4, 9]), {"classes": [], "model": {"vocabulary": 1000}})
    assert asked["text"].tolist() == [[8, 9], [18, 19]]
    assert "text" not in condition(told, np.array([4, 9]), {"classes": [], "model": {}})
