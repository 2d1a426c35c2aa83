import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, kl_divergence
from torch.distributions import Normal as TorchNormal

from stepladder.baselines.autoencoder import VAE, Normal, bits_per_dim, bound, discretised_log_likelihood, divergence
from stepladder.errors import UserError

PIXELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def test_divergence_is_torch_s():
    mean, log_std = torch.randn(2, 5, 7, dtype=torch.float64)
    there = kl_divergence(TorchNormal(mean, log_std.exp()), TorchNormal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(Normal(mean, log_std)), there)


@given(st.floats(-1.5, 1.5), st.floats(-6, 2))
def test_the_likelihoods_of_all_values_of_a_pixel_sum_to_one(mean, log_std):
    normal = Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(log_std, dtype=torch.float64))
    assert discretised_log_likelihood(PIXELS, normal).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_the_likelihood_of_a_value_is_the_normal_s_mass_around_it():
    normal = TorchNormal(torch.tensor(0.1, dtype=torch.float64), 0.3)
    edges = torch.cat([torch.tensor([-torch.inf]), (PIXELS[:-1] + PIXELS[1:]) / 2, torch.tensor([torch.inf])])
    mass = normal.cdf(edges[1:]) - normal.cdf(edges[:-1])
    ours = discretised_log_likelihood(PIXELS, Normal(normal.mean, normal.stddev.log()))
    torch.testing.assert_close(ours.exp(), mass)


def test_far_from_the_mean_the_likelihood_is_still_right_and_pulls():
    """A hundred standard deviations off, where a difference of distribution functions is 0 in float32."""
    mean = torch.tensor(-0.9, requires_grad=True)
    x = torch.tensor([0.1 / 127.5 * 127, 1.0, -1.0]).round(decimals=4)
    log_p = discretised_log_likelihood(x[:1], Normal(mean, torch.tensor(math.log(0.01))))
    z = (x[0].item() - 1 / 255 + 0.9) / 0.01
    expected = -z * z / 2 - math.log(z * math.sqrt(2 * math.pi))  # the tail beyond the nearer edge
    assert log_p.item() == pytest.approx(expected, rel=1e-3)
    log_p.sum().backward()
    assert mean.grad is not None
    assert mean.grad.item() == pytest.approx(z / 0.01, rel=0.02)


class Linear:
    """x = W z + b + s e: the model whose likelihood is known, of pixels fine enough to be taken as continuous."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.w = torch.tensor(0.12 * random.standard_normal((6, 3)))
        self.b, self.std = torch.tensor(0.1 * random.standard_normal(6)), 0.15
        self.z = torch.tensor(random.standard_normal((4, 3)))
        exact = self.z @ self.w.T + self.b + self.std * torch.tensor(random.standard_normal((4, 6)))
        self.x = ((exact + 1) * 127.5).round().clamp(1, 254) / 127.5 - 1

    def decode(self, z):
        return Normal(z @ self.w.T + self.b, torch.tensor(math.log(self.std), dtype=torch.float64))

    def log_likelihood(self):
        covariance = self.w @ self.w.T + self.std**2 * torch.eye(6)
        return MultivariateNormal(self.b, covariance).log_prob(self.x) + 6 * math.log(2 / 255)

    def posterior(self):
        """Its exact posterior has a covariance that is no diagonal; in these coordinates of z it is one."""
        values, vectors = torch.linalg.eigh(self.w.T @ self.w)
        self.w = self.w @ vectors
        precision = 1 + values / self.std**2
        mean = (self.x - self.b) @ self.w / self.std**2 / precision
        return Normal(mean, (-0.5 * precision.log()).expand_as(mean))


def expected_bound(model, posterior, draws=20_000):
    random = torch.Generator().manual_seed(0)
    eps = torch.randn(draws, 1, 3, generator=random, dtype=torch.float64)
    parts = [bound(model.x, posterior, model.decode, e) for e in eps[:2000]]
    return torch.stack([p.reconstruction - p.divergence for p in parts]).mean(0)


def test_the_bound_is_the_likelihood_at_the_exact_posterior_and_below_it_elsewhere():
    model = Linear()
    exact = model.posterior()
    known = model.log_likelihood()
    torch.testing.assert_close(expected_bound(model, exact), known, atol=0.15, rtol=0)
    shifted = Normal(exact.mean + 0.5, exact.log_std)
    wide = Normal(exact.mean, exact.log_std + 0.7)
    for worse in (shifted, wide):
        gap = known - expected_bound(model, worse)
        true = kl_divergence(
            TorchNormal(worse.mean, worse.log_std.exp()), TorchNormal(exact.mean, exact.log_std.exp())
        ).sum(1)  # ln p(x) - bound = KL(q || posterior)
        assert (gap > 0.3).all()
        torch.testing.assert_close(gap, true, atol=0.25, rtol=0.05)


def test_guessing_all_values_alike_costs_eight_bits():
    nats = torch.full((3,), -64 * math.log(256))
    assert bits_per_dim(nats, 64).tolist() == pytest.approx([8, 8, 8])


@pytest.mark.parametrize("variance", ["shared", "pixel"])
@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 8)])
def test_shapes(variance, classes, shape):
    model = VAE(shape, 8, (1, 2), 5, classes, variance)
    x, labels = torch.rand(6, *shape) * 2 - 1, torch.arange(6) % max(classes, 1)
    posterior = model.encode(x, labels)
    assert posterior.mean.shape == posterior.log_std.shape == (6, 5)
    decoded = model.decode(posterior.mean, labels)
    assert decoded.mean.shape == x.shape
    assert decoded.log_std.shape == (x.shape if variance == "pixel" else ())
    assert model(posterior.mean, labels).shape == x.shape


def test_sides_that_cannot_be_halved_so_often_are_refused():
    with pytest.raises(
        UserError, match=r"Pictures of 8x6 cannot be halved 2 times; set images.size to a multiple of 4"
    ):
        VAE((1, 8, 6), 8, (1, 2), 5, 0, "shared")
