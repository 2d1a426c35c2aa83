import pytest
import torch
import torch.nn.functional as F

from stepladder.diffusion.convolutions import Spectral, convolution, zeroed


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
