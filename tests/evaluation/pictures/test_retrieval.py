import numpy as np
import pytest
import torch

from stepladder.evaluation.pictures.retrieval import retrieval


def pictures(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_pictures_themselves_are_found_first():
    real = pictures(60)
    found = retrieval(real + 0.01 * pictures(60, 1), real, np.arange(60) % 2)
    assert found == pytest.approx({"retrieval_rank": 0, "retrieval_top5": 1, "retrieval_top5_chance": 5 / 30})


def test_unrelated_pictures_are_found_by_chance():
    found = retrieval(pictures(800, 1), pictures(800), np.zeros(800, dtype=np.int64))
    assert abs(found["retrieval_rank"] - 0.5) < 4 * (1 / 12 / 800) ** 0.5
    assert abs(found["retrieval_top5"] - found["retrieval_top5_chance"]) < 4 * (5 / 800 / 800) ** 0.5


def test_a_constant_picture_gains_nothing_from_ties():
    found = retrieval(torch.zeros(40, 1, 8, 8), torch.ones(40, 1, 8, 8), np.zeros(40, dtype=np.int64))
    assert found["retrieval_rank"] == 0.5
    assert found["retrieval_top5"] == 0


def test_only_pictures_of_the_same_group_compete():
    real = pictures(20)
    drawn = real.clone()
    drawn[:10] = real[10:]  # each drawn picture of the first group is a real one of the second
    groups = np.repeat([0, 1], 10)
    assert retrieval(drawn, real, groups)["retrieval_top5"] < 1
    assert retrieval(drawn[10:], real[10:], groups[10:])["retrieval_rank"] == 0
