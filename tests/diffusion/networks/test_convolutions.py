import pytest
import torch
import torch.nn.functional as F

from stepladder.diffusion.networks.convolutions import DoublingConv2d, Spectral, convolution, zeroed


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (16, 12), (33, 20)])
def test_spectral_convolution_is_the_periodic_convolution(height, width):
    spectral = Spectral(3, side=7).double()
    torch.nn.init.normal_(spectral.bias)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    wanted = F.conv2d(
        F.pad(x, (3, 3, 3, 3), mode="circular"), spectral.kernel[:, None], spectral.bias, groups=3
    )  # fmt: skip
    torch.testing.assert_close(spectral(x), wanted, rtol=1e-4, atol=1e-4)  # computed in single precision


@pytest.mark.parametrize("side", [1, 2, 4, 5])
def test_a_picture_smaller_than_the_kernel_wraps_around_it(side):
    spectral = Spectral(2, side=7)
    x = torch.randn(1, 2, side, side)
    wanted = torch.zeros_like(x)
    for i in range(7):
        for j in range(7):
            wanted += spectral.kernel[:, i, j, None, None] * x.roll((3 - i, 3 - j), dims=(2, 3))
    torch.testing.assert_close(spectral(x), wanted + spectral.bias[:, None, None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["full", "depthwise_separable", "fft"])
def test_every_kind_keeps_the_side_learns_and_can_start_from_nothing(kind):
    layer = convolution(kind, 6, 10)
    x = torch.randn(2, 6, 5, 7)
    assert layer(x).shape == (2, 10, 5, 7)
    layer(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    assert zeroed(convolution(kind, 6, 10))(x).abs().max() == 0


def test_weights_of_each_kind():
    def weights(kind: str) -> int:
        return sum(p.numel() for p in convolution(kind, 16, 32).parameters() if p.ndim > 1)

    assert weights("full") == 9 * 16 * 32
    assert weights("depthwise_separable") == 9 * 16 + 16 * 32
    assert weights("fft") == 49 * 16 + 16 * 32


def test_doubling_convolution_is_each_pixel_four_times_and_then_the_convolution():
    torch.manual_seed(0)
    layer, x = DoublingConv2d(3, 5).double(), torch.randn(2, 3, 4, 6, dtype=torch.double)
    doubled = F.interpolate(x, scale_factor=2, mode="nearest")
    expected = F.conv2d(doubled, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected)
    slope = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(layer(x), list(layer.parameters()), slope),
        torch.autograd.grad(expected, list(layer.parameters()), slope),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
