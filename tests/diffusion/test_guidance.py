import torch
from torch import Tensor

from stepladder.diffusion.conditions import Condition
from stepladder.diffusion.guidance import guided

NULL = 3


class Counting:
    """Gives 10 * label + time, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        labels = condition["labels"]
        self.batches.append(labels.tolist())
        return x + (10 * labels + time)[:, None, None, None]


def arguments() -> tuple[Tensor, Tensor, Condition]:
    return torch.randn(2, 1, 8, 8), torch.tensor([0.25, 0.5]), {"labels": torch.tensor([0, 2])}


def test_scale_one_is_one_forward_with_the_label():
    x, time, condition = arguments()
    network = Counting()
    torch.testing.assert_close(guided(network, x, time, condition, NULL, 1.0), Counting()(x, time, condition))
    assert network.batches == [[0, 2]]


def test_other_scales_are_one_forward_of_both():
    network = Counting()
    guided(network, *arguments(), NULL, 2.0)
    assert network.batches == [[0, 2, NULL, NULL]]


def test_scale_extrapolates_from_no_class():
    x, time, condition = arguments()
    with_label = Counting()(x, time, condition)
    without = Counting()(x, time, {"labels": torch.full((2,), NULL)})
    for scale in (0.0, 0.5, 3.0):
        torch.testing.assert_close(
            guided(Counting(), x, time, condition, NULL, scale), (1 - scale) * without + scale * with_label
        )
