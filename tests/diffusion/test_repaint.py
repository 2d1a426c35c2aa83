"""Pictures of two pixels, normal and correlated, whose denoiser is known: one pixel is given, the other drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.repaint import repaint, visits
from stepladder.diffusion.samplers.sampler import Denoised

MEAN = torch.tensor([0.2, -0.1])
COVARIANCE = torch.tensor([[0.25, 0.16], [0.16, 0.16]])  # correlation 0.8
GIVEN = 0.9
WANTED_MEAN = float(MEAN[1] + COVARIANCE[1, 0] / COVARIANCE[0, 0] * (GIVEN - MEAN[0]))
WANTED_VARIANCE = float(COVARIANCE[1, 1] - COVARIANCE[1, 0] ** 2 / COVARIANCE[0, 0])


def levels(process: str, steps: int) -> Levels:
    u = np.arange(steps, 0, -1) / steps
    if process == "edm":
        return Levels(np.ones(steps), np.geomspace(80, 0.002, steps), u)
    if process == "flow":
        return Levels(1 - u, u, u)
    angle = np.pi / 2 * u * 0.999
    return Levels(np.cos(angle), np.sin(angle), u)


def drawn(process, steps, jump, resamples, covariance=COVARIANCE, count=4000):
    """``(count, 2)``, the first pixel given."""
    at = levels(process, steps)
    random = torch.Generator().manual_seed(0)
    gains = [
        a * covariance @ torch.linalg.inv(a**2 * covariance + s**2 * torch.eye(2))
        for a, s in zip(at.alphas.tolist(), at.sigmas.tolist(), strict=True)
    ]

    def denoise(x, i):
        centred = x.flatten(1) - float(at.alphas[i]) * MEAN
        return Denoised((MEAN + centred @ gains[i].T).view_as(x))

    def noise():
        return torch.randn(count, 1, 1, 2, generator=random)

    known = torch.full((count, 1, 1, 2), GIVEN)
    mask = torch.tensor([True, False]).view(1, 1, 1, 2)
    start = float(at.sigmas[0]) * noise()
    return repaint(denoise, start, known, mask, at, noise, jump=jump, resamples=resamples).flatten(1)


@pytest.mark.parametrize("process", ["discrete", "edm", "flow"])
def test_the_drawn_part_follows_its_distribution_given_the_known_part(process):
    x = drawn(process, 400, 10, 10)
    assert (x[:, 0] == GIVEN).all(), "the known part is kept exactly"
    assert float(x[:, 1].mean()) == pytest.approx(WANTED_MEAN, abs=0.03)
    assert float(x[:, 1].var()) == pytest.approx(WANTED_VARIANCE, rel=0.1)


def test_resampling_is_what_brings_it_into_harmony():
    once, often = (float(drawn("discrete", 100, 5, resamples)[:, 1].mean()) for resamples in (1, 10))
    assert once < WANTED_MEAN - 0.1, "each step alone hears of the known part too late"
    assert abs(often - WANTED_MEAN) < 0.04


def test_what_has_nothing_to_do_with_the_known_part_is_drawn_as_ever():
    x = drawn("discrete", 200, 10, 5, covariance=torch.diag(COVARIANCE.diagonal()))
    assert float(x[:, 1].mean()) == pytest.approx(float(MEAN[1]), abs=0.03)
    assert float(x[:, 1].var()) == pytest.approx(float(COVARIANCE[1, 1]), rel=0.1)


def test_a_mask_of_one_channel_is_for_all():
    at, known, mask = levels("discrete", 5), torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[:, :, :2] = True
    x = repaint(lambda x, i: Denoised(torch.ones_like(x)), known, known, mask, at, lambda: torch.randn(2, 3, 4, 4))
    assert not x[:, :, :2].any()
    assert (x[:, :, 2:] == 1).all(), "the last step ends at what the network takes it for"


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 6))
def test_the_path_goes_level_by_level_from_noise_to_data(steps, jump, resamples):
    path = visits(steps, jump, resamples)
    assert (path[0], path[-1], path.count(steps)) == (0, steps, 1)
    assert min(path) == 0
    differences = np.diff(path)
    assert set(differences.tolist()) <= {1, -1}
    places = len(range(1, steps - jump + 1, jump))
    assert (differences == 1).sum() == steps + places * jump * (resamples - 1)


def test_the_published_algorithm_is_jumps_of_one_level():
    assert visits(3, 1, 2) == [0, 1, 0, 1, 2, 1, 2, 3]
    assert visits(4, 2, 2) == [0, 1, 2, 3, 2, 1, 2, 3, 4]
    assert visits(3, 1, 1) == visits(3, 10, 10) == [0, 1, 2, 3]
