"""What a process is: noise levels in time, and what a network gets and predicts at each.

A noise level is (alpha, sigma): ``x = alpha x_0 + sigma eps``. Training, sampling, bounds, classifiers and
parameters use only what ``Process`` has; no other code names a process. ``processes`` has the table of all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepladder.diffusion.processes.levels import Levels
from stepladder.diffusion.processes.posterior import Posteriors, posteriors
from stepladder.diffusion.processes.schedules import curve
from stepladder.diffusion.processes.settings import ProcessDescription
from stepladder.diffusion.processes.spacing import LOG_SIGMAS, ladder, spaced

if TYPE_CHECKING:
    from torch import Tensor

    Level = Tensor | float

Array = npt.NDArray[np.float64]


def q_sample(x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """``x`` at a level, given data ``x_0`` and standard normal ``eps``: Ho et al. (2020), equation 4."""
    return alpha * x_0 + sigma * eps


def split(output: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """Split a network's ``output`` ``(N, C or 2C, H, W)`` into the prediction and the learned fraction of the variance.

    The fraction v of Nichol and Dhariwal (2021), equation 15, is (output + 1) / 2, as they publish it: a fresh network's 0
    is the middle between the bounds. It is not clipped, and None where there are C channels.
    """
    if output.shape[1] == channels:
        return output, None
    mean, fraction = output.split(channels, dim=1)  # type: ignore[no-untyped-call]  # torch is not imported here
    return mean, (fraction + 1) / 2


class Process(ABC):
    """One process, as a model's description has it. Levels broadcast with ``x`` ``(N, C, H, W)``.

    Attributes:
        name: in parameters and model folders.
        title: what it is, in a few words.
        has_steps: it has T steps, which are visited; else time is continuous, and T is only the largest S.
        has_own_target: it defines what its network predicts, and ignores ``prediction``.
        has_own_levels: it defines its noise levels, and ignores the schedule.
        usual_sampler: the default sampler.
        usual_time_sampling: the default parameters of ``diffusion`` for the levels that its training visits.
        longest_corrected: Heun corrects only steps that divide sigma / alpha by at most this, see ``samplers.heun``.
        timesteps: T.
        prediction: what its network predicts.
        sigma_data: standard deviation of the data.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    has_steps: ClassVar[bool] = False
    has_own_target: ClassVar[bool] = False
    has_own_levels: ClassVar[bool] = False
    usual_sampler: ClassVar[str] = "ancestral"
    usual_time_sampling: ClassVar[dict[str, Any]] = {}
    longest_corrected: ClassVar[float] = 10.0

    def __init__(self, description: ProcessDescription) -> None:
        self.description = description
        self.timesteps = description.timesteps
        self.prediction: str = description.prediction
        self.sigma_data = description.sigma_data

    # Inputs and outputs of the network

    def scale_input(self, x: Tensor, sigma: Level) -> Tensor:
        """``x`` scaled as the input of the network."""
        return x

    def scale_input_at(self, x: Tensor, time: Tensor) -> Tensor:
        """The same from the ``time`` ``(N,)`` instead of sigma."""
        return x

    @abstractmethod
    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """What the network is trained to output."""

    @abstractmethod
    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The data that ``output`` implies at ``x``."""

    @abstractmethod
    def error_of_x0(self, snr: Tensor) -> Tensor:
        """Squared error in ``x_0`` for a squared error of 1 in the target, at alpha^2 / sigma^2 = ``snr``; like ``snr``."""

    def first_noise(self, noise: Tensor, sigma: float) -> Tensor:
        """The x that sampling starts from: ``noise`` is standard normal, ``sigma`` that of the first level."""
        return noise

    # The levels that are visited

    @abstractmethod
    def levels(self, steps: int, spacing: str = "trailing") -> Levels:
        """The S = ``steps`` levels that a sampler visits, noisiest first; see ``spacing.spaced``.

        Raises:
            UserError: S is not in 1, ..., T, or there is no such spacing.
        """

    @abstractmethod
    def raised(self, visited: Levels, gamma: float) -> Levels:
        """``visited`` with sigma / alpha raised to 1 + ``gamma`` times its value, as far as the process goes."""

    @abstractmethod
    def levels_of_bound(self, steps: int | None = None, spacing: str = "linspace") -> Levels:
        """The S = ``steps`` levels, T where None, at which the terms of a bound are computed, cleanest first.

        Raises:
            UserError: S is not in 1, ..., T of a process that has T steps.
        """

    def posteriors_of_bound(self, levels: Levels) -> Posteriors:
        """The posteriors of the chain through ``levels``."""
        return posteriors(levels.chain())

    @abstractmethod
    def levels_of_every_t(self, u: Array) -> Levels:
        """The levels at ``u`` ``(N,)`` in [0, 1), evenly distributed, such that training on them serves every T."""


class ContinuousTime(Process):
    """Levels are a function of u in [0, 1], which is the network's input ``time``."""

    @abstractmethod
    def level_at(self, u: Array) -> tuple[Array, Array]:
        """(alpha, sigma) at ``u``."""

    @abstractmethod
    def time_at(self, log_sigma: Array) -> Array:
        """The u at which ln(sigma / alpha) has a value; beyond the process's values the nearest end."""

    @property
    def cleanest(self) -> float:
        """u of the cleanest level of a ladder."""
        return 1 / self.timesteps

    def at(self, u: Array) -> Levels:
        """The levels at ``u``."""
        return Levels(*self.level_at(u), u)

    def levels(self, steps: int, spacing: str = "trailing") -> Levels:
        """Chosen among u = 1/T, 2/T, ..., 1, T being the largest S that the model is used with, as a discrete process chooses
        among its steps; ``log_snr`` and ``karras`` give their levels exactly.
        """
        grid = self.at(np.arange(1, self.timesteps + 1) / self.timesteps)
        if spacing not in ("log_snr", "karras"):
            return grid.rows(spaced(self.timesteps, steps, spacing)[::-1])
        spaced(self.timesteps, steps)  # refuses what S cannot be
        ends = self.at(np.array([self.cleanest, 1.0])).log_sigmas()
        least, most = np.clip(ends, *LOG_SIGMAS).tolist()
        u = self.time_at(ladder(least, most, steps, spacing))
        u[0] = 1.0
        return self.at(u)

    def raised(self, visited: Levels, gamma: float) -> Levels:
        """``visited`` with sigma / alpha raised to 1 + ``gamma`` times its value, as far as u = 1."""
        with np.errstate(invalid="ignore"):
            raised = visited.log_sigmas() + np.log1p(gamma)
        u = np.maximum(self.time_at(np.minimum(raised, 100.0)), visited.times)
        return self.at(np.minimum(u, 1.0))

    def levels_of_bound(self, steps: int | None = None, spacing: str = "linspace") -> Levels:
        """At ``steps`` evenly spaced times; their number has no limit."""
        count = steps or self.timesteps
        return self.at(np.arange(1, count + 1) / count)

    def posteriors_of_bound(self, levels: Levels) -> Posteriors:
        """The first step's smallest variance is its largest, what x_1 leaves open, whatever S is: Kingma et al. (2021)."""
        tables = posteriors(levels.chain())
        tables.log_smallest[0] = tables.log_largest[0]
        return tables

    def levels_of_every_t(self, u: Array) -> Levels:
        return self.at(u)


class VariancePreserving(Process):
    """alpha^2 + sigma^2 = 1; the network predicts eps, x_0 or v: Ho et al. (2020), Salimans and Ho (2022)."""

    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        if self.prediction == "eps":
            return eps
        return x_0 if self.prediction == "x0" else alpha * eps - sigma * x_0

    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        if self.prediction == "eps":
            return (x - sigma * output) / alpha
        return output if self.prediction == "x0" else alpha * x - sigma * output

    def error_of_x0(self, snr: Tensor) -> Tensor:
        if self.prediction == "eps":
            return 1 / snr
        return snr.new_ones(snr.shape) if self.prediction == "x0" else 1 / (1 + snr)

    def on_curve(self, u: Array) -> tuple[Array, Array]:
        """(alpha, sigma) at ``u``, where log-SNR is the schedule's curve: Kingma et al. (2021)."""
        log_snr = curve(self.description)(u)
        return _root_share(log_snr), _root_share(-log_snr)


def _root_share(log_snr: Array) -> Array:
    return np.exp(-0.5 * np.logaddexp(0, -log_snr))
