import pytest
import torch
from torch.nn import functional as F

from stepladder.transformer.loss import smoothed_cross_entropy


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 5, dtype=torch.float32, requires_grad=True), torch.tensor([1, 0, 4, 2, 0, 3])


def test_without_smoothing_is_cross_entropy() -> None:
    logits, target = _case()
    expected = F.cross_entropy(logits, target, ignore_index=0, reduction="sum")
    torch.testing.assert_close(smoothed_cross_entropy(logits, target, pad=0, smoothing=0.0), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_and_gradient_are_those_of_the_labels_written_out(smoothing: float) -> None:
    logits, target = _case()
    labels = torch.full((6, 5), smoothing / 4)
    labels[:, 0] = 0
    labels.scatter_add_(1, target[:, None], torch.full((6, 1), 1 - smoothing))
    labels[target == 0] = 0
    expected = -(labels * logits.log_softmax(-1)).sum()
    (wanted,) = torch.autograd.grad(3 * expected, logits)
    loss = smoothed_cross_entropy(logits, target, pad=0, smoothing=smoothing)
    (found,) = torch.autograd.grad(3 * loss, logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, wanted)
