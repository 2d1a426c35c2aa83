import pytest
import torch
from torch.nn import functional as F

from stepladder.transformer.blocks.linear import Linear, linear, packed, suits


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, requires_grad=True), torch.randn(7, 5, requires_grad=True)
    inputs = [x, weight] + ([torch.randn(7, requires_grad=True)] if bias else [])
    found, expected = linear(*inputs), F.linear(*inputs)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    for ours, theirs in zip(*(torch.autograd.grad(y, inputs, gradient) for y in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_that_are_not_contiguous_or_not_wanted() -> None:
    x, weight = torch.randn(4, 3, 5), torch.randn(7, 5, requires_grad=True)
    linear(x, weight).transpose(0, 1).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum((0, 1)).expand(7, 5))
    frozen = torch.randn(7, 5)
    moved = x.clone().requires_grad_()
    linear(moved.transpose(0, 1), frozen).expand(2, 3, 4, 7).sum().backward()
    torch.testing.assert_close(moved.grad, 2 * frozen.sum(0).expand_as(x))


def test_other_types_are_torchs() -> None:
    layer, x = Linear(5, 7), torch.randn(3, 5)
    assert not suits(x.double(), layer.weight.double())
    torch.testing.assert_close(layer.double()(x.double()), F.linear(x.double(), layer.weight, layer.bias))
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_without_gradients_there_are_none() -> None:
    layer, x = Linear(5, 7), torch.randn(3, 5, requires_grad=True)
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_packed_weights_give_the_same_and_are_forgotten() -> None:
    layer, x = Linear(70, 130), torch.randn(3, 2, 70)
    other = Linear(70, 130)
    with torch.inference_mode():
        expected = layer(x)
        with packed(*layer.parameters()):
            torch.testing.assert_close(layer(x), expected)
            with packed(layer.weight, other.weight):
                torch.testing.assert_close(other(x), F.linear(x, other.weight, other.bias))
            torch.testing.assert_close(layer(x[:1]), expected[:1])
        layer.weight.zero_()
        torch.testing.assert_close(layer(x), layer.bias.expand(3, 2, 130))
