import pytest
import torch
from torch.nn import functional as F

from stepladder.transformer.training.loss import projected_cross_entropy, smoothed_cross_entropy, token_loss
from tests.transformer import tiny


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


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("padded", [0, 300, 1200])
def test_projected_is_the_loss_of_the_scores(smoothing: float, biased: bool, padded: int) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(1200, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    bias = torch.randn(11, requires_grad=True) if biased else None
    target = torch.randint(1, 11, (1200,))
    target[torch.randperm(1200)[:padded]] = 0
    inputs = [hidden, weight] + ([bias] if bias is not None else [])
    found = projected_cross_entropy(hidden, weight, bias, target, pad=0, smoothing=smoothing)
    expected = smoothed_cross_entropy(F.linear(hidden, weight, bias), target, pad=0, smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(*(torch.autograd.grad(loss / 3, inputs) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        again = projected_cross_entropy(hidden, weight, bias, target, pad=0, smoothing=smoothing)
    assert torch.equal(again, found)


def test_projected_loss_of_sure_scores_is_finite_and_of_half_precision_near() -> None:
    hidden, weight = 100 * torch.eye(4), torch.eye(4, requires_grad=True)
    target = torch.tensor([1, 1, 2, 3])
    loss = projected_cross_entropy(hidden, weight, None, target, pad=0, smoothing=0.0)
    assert loss.item() == pytest.approx(100, abs=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        near = projected_cross_entropy(hidden.bfloat16(), weight, None, target, pad=0, smoothing=0.0)
    assert near.item() == pytest.approx(100, rel=0.02)
    near.backward()
    assert weight.grad.isfinite().all()


def test_the_loss_of_every_language_model_is_that_of_its_scores() -> None:
    tokens = tiny.sentences([5, 8, 3])
    wanted = tokens.roll(-1, dims=1)
    for model, inputs in (
        (tiny.model(), (tokens, tokens)),
        (tiny.causal_lm(), (tokens,)),
        (tiny.masked_lm(), (tokens,)),
    ):
        scores = model(*inputs).flatten(0, 1)
        expected = F.cross_entropy(scores, wanted.flatten(), ignore_index=tiny.PAD, reduction="sum")
        torch.testing.assert_close(token_loss(model, *inputs, wanted=wanted, smoothing=0.0), expected)
