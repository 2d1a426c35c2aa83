import numpy as np
import torch

from stepladder.diffusion.sampling.thresholding import clipped, dynamic


def test_clipping():
    assert clipped(torch.tensor([-3.0, 0.5, 2.0])).tolist() == [-1, 0.5, 1]


def test_dynamic_thresholding_by_hand():
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64) * torch.tensor([0.2, 2.0, 5.0])[:, None, None, None]
    found = dynamic(x, 0.9)
    for picture, ours in zip(x.numpy(), found.numpy(), strict=True):
        limit = max(1.0, float(np.quantile(np.abs(picture), 0.9)))
        np.testing.assert_allclose(ours, picture.clip(-limit, limit) / limit, rtol=1e-6)


def test_what_is_in_range_stays_as_it_is():
    x = torch.rand(2, 1, 4, 4) * 2 - 1
    assert torch.equal(dynamic(x, 0.995), x)
