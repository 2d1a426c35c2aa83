import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepladder.diffusion.processes.process import Process
from stepladder.diffusion.processes.processes import PROCESSES
from stepladder.diffusion.processes.processes import process_of as process_of
from stepladder.diffusion.training.weighting import weight
from tests.describing import described

snrs = st.floats(1e-4, 1e4)
PREDICTED = ("eps", "x0", "v", *(name for name, process in PROCESSES.items() if process.has_own_target))


def process(predicted: str, sigma_data: float = 0.5) -> Process:
    """Whose network predicts that."""
    whose = {"process": predicted} if predicted in PROCESSES else {"process": "discrete", "prediction": predicted}
    return process_of(described(whose | {"sigma_data": sigma_data}))


def of(name: str, predicted: str, snr: float, gamma: float = 5.0, sigma_data: float = 0.5) -> float:
    return weight(name, process(predicted, sigma_data), torch.tensor([snr], dtype=torch.float64), gamma).item()


@given(snrs, st.floats(0.1, 20))
def test_published_weights(snr, gamma):
    assert of("min_snr", "eps", snr, gamma) == pytest.approx(min(snr, gamma) / snr)
    assert of("min_snr", "x0", snr, gamma) == pytest.approx(min(snr, gamma))
    assert of("min_snr", "v", snr, gamma) == pytest.approx(min(snr, gamma) / (snr + 1))
    assert of("p2", "eps", snr, 1.5) == pytest.approx(1 / (1 + snr) ** 1.5)
    sigma = snr**-0.5
    assert of("edm", "x0", snr) == pytest.approx((sigma**2 + 0.25) / (sigma * 0.5) ** 2)
    assert of("edm", "edm", snr) == pytest.approx(1)
    assert of("edm", "x0", snr, sigma_data=0.75) == pytest.approx((sigma**2 + 0.5625) / (sigma * 0.75) ** 2)
    assert of("edm", "edm", snr, sigma_data=0.75) == pytest.approx(1)


@given(snrs)
def test_none_counts_every_level_alike(snr):
    assert {of("none", predicted, snr) for predicted in PREDICTED} == {1.0}


@pytest.mark.parametrize("predicted", PREDICTED)
@given(snr=snrs)
def test_the_same_weighting_is_the_same_loss_whatever_is_predicted(predicted, snr):
    """A wrong output is a wrong x_0; their squared errors are in the ratio that the weights assume."""
    alpha, sigma = (snr / (1 + snr)) ** 0.5, (1 / (1 + snr)) ** 0.5
    if predicted == "edm":
        alpha, sigma = 1.0, snr**-0.5
    if predicted == "flow":
        alpha, sigma = snr**0.5 / (1 + snr**0.5), 1 / (1 + snr**0.5)
    of_it = process(predicted)
    generator = torch.Generator().manual_seed(0)
    x_0, eps, wrong = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64, generator=generator)
    output = of_it.target(x_0, eps, alpha, sigma) + wrong
    error = (of_it.to_x0(output, alpha * x_0 + sigma * eps, alpha, sigma) - x_0).square().mean()
    ratio = of_it.error_of_x0(torch.tensor(snr, dtype=torch.float64))
    assert (error / wrong.square().mean()).item() == pytest.approx(ratio.item(), rel=1e-6)


def test_no_weight_is_lost_where_there_is_no_noise_or_no_signal():
    ends = torch.tensor([0.0, 1e30])
    for name in ("min_snr", "edm"):
        for predicted in ("x0", "v"):
            assert weight(name, process(predicted), ends, 5.0).isfinite().all()
    assert weight("edm", process("v"), ends).tolist() == [4.0, 1.0]
