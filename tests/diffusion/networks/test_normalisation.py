import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepladder.diffusion.networks.normalisation import normalised


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_the_operations_written_out(modulated, layout, dtype):
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 8, dtype=dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (3 * torch.randn(5, 8, 6, 7, dtype=dtype) + 2).contiguous(memory_format=layout).requires_grad_()
    scale, shift = torch.randn(2, 5, 8, dtype=dtype).requires_grad_().unbind()
    ours = normalised(x, norm, scale, shift) if modulated else normalised(x, norm)
    h = norm(x)
    theirs = F.silu(h * scale[:, :, None, None] + shift[:, :, None, None] if modulated else h)
    torch.testing.assert_close(ours, theirs)
    to = [x, *norm.parameters(), *([scale, shift] if modulated else [])]
    slope = torch.randn_like(x)
    for a, b in zip(torch.autograd.grad(ours, to, slope), torch.autograd.grad(theirs, to, slope), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_autocast_takes_the_operations_written_out():
    norm, x = nn.GroupNorm(2, 4), torch.randn(2, 4, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(normalised(x, norm), F.silu(norm(x)), rtol=0, atol=0)


def test_a_constant_picture_gives_no_infinity():
    norm = nn.GroupNorm(2, 4)
    x = torch.full((2, 4, 3, 3), 1e3, requires_grad=True)
    y = normalised(x, norm)
    y.sum().backward()
    assert y.abs().max() < 1
    assert x.grad is not None
    assert x.grad.isfinite().all()
