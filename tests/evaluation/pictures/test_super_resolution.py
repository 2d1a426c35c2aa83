import numpy as np
import pytest
import torch

from stepladder.evaluation.pictures.super_resolution import fidelity, psnr


def pictures(n: int = 20) -> torch.Tensor:
    """Sums of few waves: smooth, as enlarging without a model assumes."""
    random = torch.Generator().manual_seed(0)
    x = torch.linspace(0, 1, 32)
    waves = [torch.sin(torch.randn(n, 3, 1, 1, generator=random) * 4 + 6 * axis) for axis in (x[None, :], x[:, None])]
    return (waves[0] * waves[1]).clamp(-1, 1)


def test_psnr_is_its_definition():
    a, b = pictures(), pictures() + 0.1
    as_bytes = (np.asarray(a) + 1) * 127.5, (np.asarray(b) + 1) * 127.5
    expected = 20 * np.log10(255) - 10 * np.log10(np.mean((as_bytes[0] - as_bytes[1]) ** 2))
    assert psnr(a, b) == pytest.approx(expected, rel=1e-5)
    assert psnr(a, a) == pytest.approx(106.02, abs=0.01), "a finite number, also where there is no error"


def test_the_original_is_consistent_and_itself():
    real = pictures()
    low = torch.nn.functional.avg_pool2d(real, 2)
    found = fidelity(real, real, low)
    assert found["consistency_psnr"] > 100
    assert found["psnr"] > 100
    assert found["nearest_psnr"] < found["bicubic_psnr"] < 60


def test_a_picture_may_be_consistent_and_far_from_the_original():
    real = pictures()
    checks = 0.2 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).sub(0.5)
    found = fidelity(real * 0.9 + checks, real, torch.nn.functional.avg_pool2d(real * 0.9, 2))
    assert found["consistency_psnr"] > 100
    assert found["psnr"] < 30
