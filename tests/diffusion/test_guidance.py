import torch
from torch import Tensor

from stepladder.diffusion.guidance import guided

NULL = 3


class Counting:
    """Gives 10 * label + time, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        self.batches.append(labels.tolist())
        return x + (10 * labels + time)[:, None, None, None]


def arguments() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(2, 1, 8, 8), torch.tensor([0.25, 0.5]), torch.tensor([0, 2])


def test_scale_one_is_one_forward_with_the_label():
    x, time, labels = arguments()
    network = Counting()
    torch.testing.assert_close(guided(network, x, time, labels, NULL, 1.0), Counting()(x, time, labels))
    assert network.batches == [[0, 2]]


def test_other_scales_are_one_forward_of_both():
    network = Counting()
    guided(network, *arguments(), NULL, 2.0)
    assert network.batches == [[0, 2, NULL, NULL]]


def test_scale_extrapolates_from_no_class():
    x, time, labels = arguments()
    with_label = Counting()(x, time, labels)
    without = Counting()(x, time, torch.full_like(labels, NULL))
    for scale in (0.0, 0.5, 3.0):
        torch.testing.assert_close(
            guided(Counting(), x, time, labels, NULL, scale), (1 - scale) * without + scale * with_label
        )
