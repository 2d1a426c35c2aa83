import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from stepladder.diffusion.likelihood import bits_per_dim, loss_by_time
from stepladder.diffusion.processes.processes import process_of
from stepladder.errors import UserError
from tests.describing import described_model

STD = 0.3
BASE = {"schedule": "cosine", "prediction": "v", "timesteps": 200, "classes": [], "process": "discrete"}
SIGMA_DATA = 0.5  # of a configuration that says nothing of it
PLAIN = described_model(BASE)
KINDS = [described_model(BASE | {"prediction": p}) for p in ("eps", "x0", "v")] + [
    described_model(BASE | {"process": p}) for p in ("continuous", "edm", "flow")
]


class Perfect(nn.Module):
    """Knows that every pixel is normal around 0 with standard deviation ``STD``: says the mean of x_0 given x."""

    def __init__(self, config, fraction=None):
        super().__init__()
        self.config, self.fraction = config, fraction
        self.levels = process_of(config).levels_of_bound(None if config.process == "discrete" else 4000)
        self.nothing = nn.Parameter(torch.zeros(()))
        self.evaluations = 0

    def forward(self, x, time, condition):
        assert (condition["labels"] == 0).all()
        self.evaluations += len(x)
        at = np.abs(self.levels.times[:, None] - time.double().numpy()).argmin(0)
        alpha, sigma = (torch.tensor(v[at])[:, None, None, None] for v in (self.levels.alphas, self.levels.sigmas))
        x = x.double() * ((sigma**2 + SIGMA_DATA**2).sqrt() if self.config.process == "edm" else 1)
        x_0 = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * x
        said = process_of(self.config).target(x_0, (x - alpha * x_0) / sigma, alpha, sigma)
        return (said if self.fraction is None else torch.cat([said, torch.full_like(said, self.fraction)], 1)).float()


def pictures(count: int = 64) -> torch.Tensor:
    """Normal pixels, brought to 256 levels."""
    drawn = STD * torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return ((drawn + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


def labels(count: int = 64) -> dict[str, torch.Tensor]:
    return {"labels": torch.zeros(count, dtype=torch.int64)}


def information(x_0: torch.Tensor) -> float:
    """-log2 of the bins' probability, the figure that the bound bounds."""
    x = x_0.double().numpy()
    return float(-np.log2(norm.cdf((x + 1 / 255) / STD) - norm.cdf((x - 1 / 255) / STD)).mean())


def by_hand(config, steps=None) -> tuple[np.ndarray, float]:
    """Means of the terms after the first with the posterior's variance, and of L_T, for unrounded normal pixels."""
    signal = process_of(config).levels_of_bound(steps).chain().alphas_cumprod
    snr = signal / (1 - signal)
    left = 1 / (1 / STD**2 + snr[1:])  # variance of x_0 given x
    last = signal[-1]
    prior = 0.5 * (last * STD**2 - last - math.log(1 - last)) / math.log(2)
    return 0.5 * (snr[:-1] - snr[1:]) * left / math.log(2), prior


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.process}-{c.prediction}")
def test_a_perfect_model_of_normal_data_has_the_known_terms(config):
    found = bits_per_dim(Perfect(config), config, pictures(), labels(), variance="fixed_small", clip=False)
    terms, prior = by_hand(config)
    assert len(found["terms"]) == 200
    assert sum(found["terms"][1:]) == pytest.approx(terms.sum(), rel=0.02)
    np.testing.assert_allclose(found["terms"][20:], terms[19:], rtol=0.15, atol=1e-6)
    assert found["prior"] == pytest.approx(prior, rel=0.1, abs=1e-9)
    assert found["bits_per_dim"] == pytest.approx(sum(found["terms"]) + found["prior"])
    assert found["bits_per_dim"] == pytest.approx(np.mean(found["by_picture"]))


def test_the_bound_comes_down_to_the_information_with_more_steps_and_never_passes_it():
    x_0 = pictures(32)
    least = information(x_0)
    assert least == pytest.approx(math.log2(127.5 * STD * math.sqrt(2 * math.pi * math.e)), abs=0.06)
    bounds = []
    for steps in (10, 50, 250, 1000):
        config = described_model(BASE | {"process": "continuous", "schedule": "log_snr", "log_snr": (10.0, -10.0)})
        bounds.append(bits_per_dim(Perfect(config), config, x_0, labels(32), steps, clip=False)["bits_per_dim"])
    assert bounds == sorted(bounds, reverse=True)
    assert least < bounds[-1] < least + 0.06
    assert bounds[0] > least + 1
    for timesteps in (1, 5, 20, 200):
        config = described_model(BASE | {"timesteps": timesteps})
        assert bits_per_dim(Perfect(config), config, x_0, labels(32), clip=False)["bits_per_dim"] > least


def test_the_large_variance_is_worse_near_the_data_and_the_learned_one_can_be_either():
    config = described_model(BASE | {"variance": "learned_range"})
    x_0 = pictures()
    small, large = (
        bits_per_dim(Perfect(config), config, x_0, labels(), variance=v, clip=False, steps=20) for v in
        ("fixed_small", "fixed_large")
    )  # fmt: skip
    for said, fixed in ((-1.0, small), (1.0, large)):
        learned = bits_per_dim(Perfect(config, said), config, x_0, labels(), clip=False, steps=20)
        assert learned["variance"] == "learned"
        np.testing.assert_allclose(learned["terms"][1:], fixed["terms"][1:], rtol=1e-5)
    assert small["terms"][0] == large["terms"][0]
    assert small["bits_per_dim"] != pytest.approx(large["bits_per_dim"], rel=1e-3)


def test_all_steps_are_the_full_chain_and_fewer_have_betas_of_their_own():
    x_0, model = pictures(16), Perfect(PLAIN)
    full = bits_per_dim(model, PLAIN, x_0, labels(16))
    assert bits_per_dim(model, PLAIN, x_0, labels(16), steps=200) == full
    few = bits_per_dim(model, PLAIN, x_0, labels(16), steps=12, clip=False)
    assert len(few["terms"]) == few["steps"] == 12
    assert few["times"][0] == 1 / 200
    assert few["times"][-1] == 1
    assert sum(few["terms"][1:]) == pytest.approx(by_hand(PLAIN, 12)[0].sum(), rel=0.1)
    assert few["bits_per_dim"] > full["bits_per_dim"], "leaving steps out costs bits"


def test_the_batch_size_changes_the_speed_only():
    x_0, model = pictures(10), Perfect(PLAIN)
    found = [bits_per_dim(model, PLAIN, x_0, labels(10), steps=7, batch_size=size) for size in (1, 3, 25, 512)]
    for other in found[1:]:
        np.testing.assert_allclose(other["by_picture"], found[0]["by_picture"], rtol=1e-5)
    assert model.evaluations == 4 * 7 * 10
    assert bits_per_dim(model, PLAIN, x_0, labels(10), steps=7, seed=1)["by_picture"] != found[0]["by_picture"]


@pytest.mark.parametrize("config", KINDS, ids=lambda c: f"{c.process}-{c.prediction}")
def test_errors_by_time_are_those_of_a_perfect_model(config):
    found = loss_by_time(Perfect(config), config, pictures(), labels(), points=15)
    levels = process_of(config).levels_of_bound(15)
    assert found["times"] == levels.times.tolist()
    left = 1 / (1 / STD**2 + (levels.alphas / levels.sigmas) ** 2)
    np.testing.assert_allclose(found["error_of_x_0"], left, rtol=0.1)
    assert found["fraction"] is None
    with np.errstate(divide="ignore"):
        of_eps = (levels.sigmas / levels.alphas) ** 2
    of_x_0 = {"x0": 1, "eps": of_eps, "v": levels.sigmas**2}[config.prediction]
    if config.process == "edm":
        of_x_0 = (levels.sigmas * SIGMA_DATA) ** 2 / (levels.sigmas**2 + SIGMA_DATA**2)
    np.testing.assert_allclose(found["error"], left / of_x_0, rtol=0.1)


def test_the_learned_variance_by_time_is_the_network_s_fraction():
    config = described_model(BASE | {"variance": "learned_range"})
    found = loss_by_time(Perfect(config, 0.5), config, pictures(5), labels(5), points=4)
    assert found["fraction"] == pytest.approx([0.75] * 4)


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(UserError, match="variance=learned of a model that knows fixed_small, fixed_large"):
        bits_per_dim(Perfect(PLAIN), PLAIN, pictures(2), labels(2), variance="learned")
    with pytest.raises(UserError, match="S=201"):
        bits_per_dim(Perfect(PLAIN), PLAIN, pictures(2), labels(2), steps=201)
