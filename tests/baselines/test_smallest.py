"""The smallest pictures and batches."""

import torch

from stepladder.baselines import networks


def test_one_picture_of_a_level_of_one_pixel_is_as_among_others():
    """PyTorch's group normalisation refuses a single value a group only where the batch has one picture."""
    torch.manual_seed(0)
    norm, x = networks._norm(8), torch.randn(2, 8, 1, 1)
    torch.testing.assert_close(norm(x[:1]), norm(x)[:1])
