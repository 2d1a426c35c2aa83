import math

import pytest
import torch
import torch.nn.functional as F

from stepladder.baselines.adversarial import (
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1,
)


def quadratic(x):
    """Its gradient at x is x."""
    return 0.5 * x.square().flatten(1).sum(1)


def test_r1_is_half_the_mean_squared_gradient():
    x = torch.randn(5, 2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(r1(quadratic, x), 0.5 * x.square().flatten(1).sum(1).mean())


def test_r1_has_the_gradient_of_its_closed_form():
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 3, 1, 1, dtype=torch.float64)
    r1(lambda y: torch.sin(y.flatten(1)) @ slope, x).backward()
    # half the mean over pictures of sum_i slope_i^2 cos^2 x_i
    expected = slope.detach() * x.flatten(1).cos().square().mean(0)
    torch.testing.assert_close(slope.grad, expected)


def test_the_gradient_penalty_is_zero_for_slope_one_and_known_for_others():
    real, drawn = torch.randn(2, 6, 1, 2, 2, dtype=torch.float64)
    share = torch.rand(6, dtype=torch.float64)
    direction = F.normalize(torch.randn(4, dtype=torch.float64), dim=0)
    for slope in (1.0, 0.0, 3.0):
        got = gradient_penalty(lambda p, s=slope: s * (p.flatten(1) @ direction), real, drawn, share)
        assert got.item() == pytest.approx((slope - 1) ** 2, abs=1e-12)
    between = real + share[:, None, None, None] * (drawn - real)
    expected = (between.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(gradient_penalty(quadratic, real, drawn, share), expected)


def test_losses_are_the_published_ones():
    real, drawn = torch.randn(2, 8, dtype=torch.float64)
    chance_real, chance_drawn = real.sigmoid(), drawn.sigmoid()
    told = -(chance_real.log() + (1 - chance_drawn).log()).mean()
    torch.testing.assert_close(discriminator_loss("non_saturating", real, drawn), told)
    torch.testing.assert_close(generator_loss("non_saturating", drawn), -chance_drawn.log().mean())
    torch.testing.assert_close(discriminator_loss("wgan_gp", real, drawn), drawn.mean() - real.mean())
    torch.testing.assert_close(generator_loss("wgan_gp", drawn), -drawn.mean())
    nothing = torch.zeros(4)
    assert discriminator_loss("non_saturating", nothing, nothing).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 16)])
def test_shapes_and_range(classes, shape):
    labels = torch.arange(6) % max(classes, 1)
    pictures = Generator(shape, 8, (1, 2), 5, classes)(10 * torch.randn(6, 5), labels)
    assert pictures.shape == (6, *shape)
    assert pictures.abs().max() <= 1
    assert Discriminator(shape, 8, (1, 2), classes)(pictures, labels).shape == (6,)


def test_the_class_s_part_of_the_logit_is_a_projection_of_the_features():
    network = Discriminator((1, 8, 8), 8, (1,), 3)
    torch.nn.init.normal_(network.label.weight)
    x = torch.randn(1, 1, 8, 8)
    features = network.downward(x)[0]
    one, two = network(x, torch.tensor([1])), network(x, torch.tensor([2]))
    expected = (network.label.weight[1] - network.label.weight[2]) @ features
    torch.testing.assert_close((one - two)[0], expected)


def test_a_picture_s_logit_does_not_depend_on_the_others():
    network = Discriminator((1, 8, 8), 8, (1, 2), 3)
    x, labels = torch.randn(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(network(x, labels)[2:3], network(x[2:3], labels[2:3]))
