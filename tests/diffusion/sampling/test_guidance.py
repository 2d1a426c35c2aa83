import torch
from torch import Tensor

from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.sampling.guidance import classifier_guided, guided

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


def test_a_learned_variance_is_not_guided():
    def network(x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return torch.cat([Counting()(x, time, condition), Counting()(x, time, condition) + 100], dim=1)

    x, time, condition = arguments()
    output = guided(network, x, time, condition, NULL, 3.0)
    torch.testing.assert_close(output[:, :1], guided(Counting(), x, time, condition, NULL, 3.0))
    torch.testing.assert_close(output[:, 1:], Counting()(x, time, condition) + 100)


def test_rescaling_brings_the_contrast_back():
    class Stretching:
        """Contrast 1 without a class, 2 with one."""

        def __call__(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
            return x * (1 + (condition["labels"] != NULL))[:, None, None, None]

    x, time, condition = arguments()
    plain, whole, half = (
        guided(Stretching(), x, time, condition, NULL, 4.0, rescale=phi).std((1, 2, 3)) for phi in (0.0, 1.0, 0.5)
    )
    torch.testing.assert_close(plain, 5 * x.std((1, 2, 3)))
    torch.testing.assert_close(whole, 2 * x.std((1, 2, 3)))
    torch.testing.assert_close(half, (plain + whole) / 2)


def test_classifier_guidance_is_exact_for_two_normal_classes():
    """Data -1 or 1 with equal chance: the classifier's log-odds are known, and guided by it x_0 is that of one class."""
    alpha, sigma = 0.6, 0.8

    def classifier(x: Tensor, time: Tensor) -> Tensor:
        centre = x.flatten(1).sum(1)
        return torch.stack([-((centre + alpha) ** 2), -((centre - alpha) ** 2)], dim=1) / (2 * sigma**2)

    x = torch.randn(5, 1, 1, 1, dtype=torch.float64)
    unconditional = torch.tanh(alpha * x / sigma**2)
    with torch.inference_mode():
        moved = classifier_guided(
            classifier, unconditional, x, torch.ones(5), torch.ones(5, dtype=torch.long), alpha, sigma, 1.0
        )
    torch.testing.assert_close(moved, torch.ones_like(moved))


def test_without_signal_a_classifier_moves_nothing():
    x = torch.randn(2, 1, 4, 4)
    assert classifier_guided(lambda x, time: x, x, x, torch.ones(2), torch.zeros(2).long(), 0.0, 1.0, 3.0) is x


def test_a_picture_of_no_class_is_left_as_it_is():
    """Its label is none of the classifier's; the others move as they would alone."""

    def classifier(x: Tensor, time: Tensor) -> Tensor:
        return torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], dim=1)

    x, time = torch.randn(2, 1, 2, 2), torch.full((2,), 0.5)
    moved = classifier_guided(classifier, x, x, time, torch.tensor([0, 2]), 0.8, 0.6, 3.0)
    alone = classifier_guided(classifier, x[:1], x[:1], time[:1], torch.tensor([0]), 0.8, 0.6, 3.0)
    torch.testing.assert_close(moved[1], x[1], rtol=0, atol=0)
    torch.testing.assert_close(moved[:1], alone)
    assert (moved[0] != x[0]).all()
