import math

import pytest
import torch

from stepladder.transformer.positions import sinusoidal


@pytest.mark.parametrize(("pos", "i"), [(0, 0), (1, 0), (7, 3), (100, 15)])
def test_is_the_published_formula(pos: int, i: int) -> None:
    encoding = sinusoidal(128, 32)
    angle = pos / 10000 ** (2 * i / 32)
    assert encoding[pos, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
    assert encoding[pos, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_dot_products_depend_on_the_distance_only() -> None:
    p = sinusoidal(60, 64)
    gram = p @ p.T
    for distance in (1, 5, 20):
        diagonal = gram.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)


def test_longer_tables_begin_alike() -> None:
    assert torch.equal(sinusoidal(50, 16)[:20], sinusoidal(20, 16))
