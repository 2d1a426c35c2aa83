import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from stepladder.diffusion.losses import discretised_gaussian, learned_range, normal_kl, squared_error, vlb_term
from stepladder.diffusion.processes.posterior import posteriors
from stepladder.diffusion.processes.schedules import schedule

BINS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def column(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def test_squared_error_is_a_mean_for_each_picture():
    output, target = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    output[1, 0, 0, 0] = 2
    assert squared_error(output, target).tolist() == [0, 1]


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.2, 2), st.floats(0.2, 2))
def test_divergence_is_the_integral_that_defines_it(mean, mean_of, std, std_of):
    p, q = norm(mean, std), norm(mean_of, std_of)
    integral, _ = quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), mean - 12 * std, mean + 12 * std)
    arguments = (
        torch.tensor(v, dtype=torch.float64) for v in (mean_of - mean, 2 * math.log(std), 2 * math.log(std_of))
    )
    assert normal_kl(*arguments).item() == pytest.approx(integral, abs=1e-7)


@given(st.floats(-1.5, 1.5), st.floats(0.002, 3))
def test_probabilities_of_the_bins_are_differences_of_the_distribution_function(mean, std):
    """The oracle subtracts numbers near 1, hence an absolute tolerance."""
    log_p = discretised_gaussian(BINS, torch.tensor(mean), torch.tensor(2 * math.log(std), dtype=torch.float64))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-6)
    distribution = norm.cdf(((BINS.numpy()[:-1] + 1 / 255) - np.float32(mean)) / std)
    expected = np.diff(np.concatenate([[0.0], distribution, [1.0]]))
    np.testing.assert_allclose(log_p.exp().numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("std", [1e-3, 1e-2, 1.0])
def test_unlikely_bins_have_the_logarithm_that_cancellation_would_lose(dtype, std):
    """Far out log(Phi(b) - Phi(a)) is close to log Phi(b), and its gradient stays finite; published code clamps it."""
    mean = torch.full((256,), 1.0, dtype=dtype, requires_grad=True)
    log_p = discretised_gaussian(BINS.to(dtype), mean, torch.tensor(2 * math.log(std), dtype=dtype))
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()
    a, b = ((BINS[64] + side / 255 - 1) / std for side in (-1, 1))
    high, low = (torch.special.log_ndtr(x.double()) for x in (b, a))
    expected = (high + torch.log1p(-torch.exp(low - high))).item()
    assert log_p[64].item() == pytest.approx(expected, rel=1e-3 if dtype == torch.float32 else 1e-9)


@given(st.integers(1, 49), st.floats(-1, 1), st.floats(-1, 1))
def test_a_term_with_the_posterior_s_variance_is_the_difference_of_snr(t, x_0, x_0_hat):
    """Kingma et al. (2021), equation 14: 1/2 (SNR(t-1) - SNR(t)) (x_0 - x_0_hat)^2."""
    chain = schedule("cosine", 50)
    tables, snr = posteriors(chain), chain.alphas_cumprod / (1 - chain.alphas_cumprod)
    small = column(tables.log_smallest[t])
    term = vlb_term(column(x_0), column(x_0_hat), torch.tensor([False]), column(tables.x_0_coef[t]), small, small)
    expected = 0.5 * (snr[t - 1] - snr[t]) * (x_0 - x_0_hat) ** 2 / math.log(2)
    assert term.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_first_term_is_the_decoder_s():
    chain = schedule("cosine", 50)
    tables = posteriors(chain)
    small = column(tables.log_smallest[0])
    x_0, x_0_hat = torch.full((2, 1, 1, 1), 51 / 127.5 - 1), torch.full((2, 1, 1, 1), -0.59)
    term = vlb_term(x_0, x_0_hat, torch.tensor([True, False]), column(1.0), small, small)
    std = math.exp(0.5 * tables.log_smallest[0])
    p = norm.cdf((51.5 / 127.5 - 1 + 0.59) / std) - norm.cdf((50.5 / 127.5 - 1 + 0.59) / std)
    assert term[0].item() == pytest.approx(-math.log2(p), rel=1e-4)
    assert term[1].item() != pytest.approx(term[0].item(), rel=1e-2)


def test_learned_variance_goes_from_the_posterior_s_to_beta():
    tables = posteriors(schedule("cosine", 50))
    small, large = torch.tensor(tables.log_smallest[7]), torch.tensor(tables.log_largest[7])
    for fraction, expected in ((0.0, small), (1.0, large), (0.5, (small + large) / 2)):
        assert learned_range(torch.tensor(fraction), small, large).item() == pytest.approx(expected.item())


def test_the_best_variance_is_between_the_bounds():
    """With data of unit variance the true reverse variance is beta; with data at a point it is the posterior's."""
    tables = posteriors(schedule("cosine", 50))
    t = 20
    small, large, x_0_coef = (column(v[t]) for v in (tables.log_smallest, tables.log_largest, tables.x_0_coef))
    for error, best in ((0.0, 0.0), (1.0, 1.0)):
        signal = schedule("cosine", 50).alphas_cumprod[t]
        wrong = column(math.sqrt(error * (1 - signal)))  # of the best guess, where the data has unit variance
        fractions = torch.linspace(-0.5, 1.5, 41, dtype=torch.float64)
        terms = [
            vlb_term(column(0.0), wrong, torch.tensor([False]), x_0_coef, small, learned_range(f, small, large)).item()
            for f in fractions
        ]
        assert fractions[int(np.argmin(terms))].item() == pytest.approx(best, abs=0.03)
