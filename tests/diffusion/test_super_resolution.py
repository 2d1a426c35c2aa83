import pytest
import torch

from stepladder.diffusion.super_resolution import condition, enlarged, sides
from stepladder.errors import UserError
from tests.describing import described_model


def small(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_without_noise_the_picture_is_told_as_it_is():
    told = condition(small())
    assert torch.equal(told["low_resolution"], small())
    assert told["low_resolution_noise"].tolist() == [0, 0, 0]


def test_the_noise_is_of_the_level_that_is_told_and_of_each_picture_its_own():
    low = torch.zeros(2, 3, 64, 64)
    told = condition(low, 0.25, seed=3)
    assert told["low_resolution_noise"].tolist() == [0.25, 0.25]
    assert told["low_resolution"].std(dim=(1, 2, 3)).tolist() == pytest.approx([0.25, 0.25], rel=0.05)
    assert not torch.equal(told["low_resolution"][0], told["low_resolution"][1])
    assert torch.equal(condition(low[:1], 0.25, seed=3)["low_resolution"][0], told["low_resolution"][0])
    assert not torch.equal(condition(low, 0.25, seed=4)["low_resolution"], told["low_resolution"])


def test_enlarging_without_a_model():
    low = small()
    assert torch.equal(enlarged(low, 8, 12, "nearest"), low.repeat_interleave(2, 2).repeat_interleave(2, 3))
    slope = torch.linspace(-0.5, 0.5, 8).expand(1, 1, 8, 8)
    inside = enlarged(slope, 16, 16, "bicubic")[0, 0, 0, 4:-4]
    torch.testing.assert_close(inside.diff(), torch.full((7,), 1 / 14), rtol=1e-4, atol=1e-6)
    assert enlarged(torch.sign(low), 16, 24, "bicubic").abs().max() == 1, "overshoots are cut"


def test_sides():
    assert sides(described_model({"model": {"low_resolution": 8, "shape": (3, 32, 64)}})) == (8, 16)
    with pytest.raises(UserError, match=r"enlarges no pictures; .* diffusion\.low_resolution"):
        sides(described_model({"model": {"shape": (3, 32, 32)}}))
