"""What the network sees and says at a noise level, and the data that this implies: one place for every process.

A noise level is (alpha, sigma): ``x = alpha x_0 + sigma eps``. Discrete and continuous (variance preserving, alpha^2 +
sigma^2 = 1): Ho et al. (2020), Salimans and Ho (2022). ``edm`` (alpha = 1): the preconditioning of Karras et al. (2022),
table 1. ``flow`` (alpha = 1 - sigma): the velocity of Liu et al. (2023). Levels broadcast with ``x``.
"""

from __future__ import annotations

from torch import Tensor

Level = Tensor | float
SIGMA_DATA = 0.5


def network_input(process: str, x: Tensor, sigma: Level) -> Tensor:
    """``x`` as the network sees it: scaled to unit variance where the process lets the variance grow."""
    return x / (sigma**2 + SIGMA_DATA**2) ** 0.5 if process == "edm" else x


def target(process: str, prediction: str, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """What a network of this ``prediction`` is to output."""
    if process == "edm":
        x = x_0 + sigma * eps
        return (x_0 - _skip(sigma) * x) / _out(sigma)
    if process == "flow":
        return eps - x_0
    return {"eps": eps, "x0": x_0, "v": alpha * eps - sigma * x_0}[prediction]


def to_x0(process: str, prediction: str, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The data that ``output`` implies at ``x``."""
    if process == "edm":
        return _skip(sigma) * x + _out(sigma) * output
    if process == "flow":
        return x - sigma * output
    if prediction == "eps":
        return (x - sigma * output) / alpha
    return output if prediction == "x0" else alpha * x - sigma * output


def split(output: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """Of a network's ``output`` ``(N, C or 2C, H, W)`` what predicts the mean, and the learned fraction of the variance.

    The fraction v of Nichol and Dhariwal (2021), equation 15, is (output + 1) / 2, as they publish it: a fresh network's 0
    is the middle between the bounds. It is not clipped. None where there are C channels.
    """
    if output.shape[1] == channels:
        return output, None
    mean, fraction = output.split(channels, dim=1)
    return mean, (fraction + 1) / 2


def _skip(sigma: Level) -> Level:
    return SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2)


def _out(sigma: Level) -> Level:
    return sigma * SIGMA_DATA / (sigma**2 + SIGMA_DATA**2) ** 0.5
