"""All processes: to add one, write its class and put it into ``PROCESSES``."""

from __future__ import annotations

import inspect
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepladder import plugins
from stepladder.diffusion.processes.levels import MOST_NOISE, Levels
from stepladder.diffusion.processes.process import ContinuousTime, Process, VariancePreserving, q_sample
from stepladder.diffusion.processes.schedules import CURVES, Schedule, curve, of_description
from stepladder.diffusion.processes.settings import ProcessDescription
from stepladder.diffusion.processes.spacing import spaced

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.diffusion.processes.process import Level

Array = npt.NDArray[np.float64]


class Discrete(VariancePreserving):
    """A chain of T steps: Ho et al. (2020). Step t is at time (t + 1) / T."""

    name, title = "discrete", "T steps (DDPM)"
    has_steps = True

    @cached_property
    def schedule(self) -> Schedule:
        """The T steps."""
        return of_description(self.description)

    @cached_property
    def steps(self) -> Levels:
        """The levels of all T steps, from the cleanest to the noisiest."""
        signal = self.schedule.alphas_cumprod
        return Levels(np.sqrt(signal), np.sqrt(1 - signal), np.arange(1, len(signal) + 1) / len(signal))

    def levels(self, steps: int, spacing: str = "trailing") -> Levels:
        """S of the T steps."""
        return self.steps.rows(spaced(self.timesteps, steps, spacing, self.steps.log_sigmas())[::-1])

    def raised(self, visited: Levels, gamma: float) -> Levels:
        """To the nearest of the T steps, which may be the one visited: ``round_sigma`` of Karras et al. (2022)."""
        with np.errstate(invalid="ignore"):
            raised = visited.log_sigmas() + np.log1p(gamma)
        return self.steps.rows(_nearest(self.steps.log_sigmas(), raised))

    def levels_of_bound(self, steps: int | None = None, spacing: str = "linspace") -> Levels:
        """``linspace`` visits the first step and the last, as Nichol and Dhariwal's respacing does: the first decides L_0."""
        return self.steps.rows(spaced(self.timesteps, steps or self.timesteps, spacing))

    def levels_of_every_t(self, u: Array) -> Levels:
        """The level of T steps at time (t + 1) / T, for every T at once, where the schedule is a curve; where it is a table of
        betas, one of its steps.
        """
        if self.description.schedule == "betas":
            full = self.description.model_copy(update={"timesteps": len(self.description.betas)})
            table = Discrete(full).steps
            return table.rows(np.minimum((u * len(table)).astype(np.int64), len(table) - 1))
        alpha, sigma = self.on_curve(u)
        if self.description.zero_terminal_snr:  # as ``schedules.zero_terminal`` does it to T steps, for T without end
            first, last = (float(self.on_curve(np.array([end]))[0][0]) for end in (0.0, 1.0))
            alpha = (alpha - last) * first / (first - last)
            sigma = np.sqrt(1 - alpha**2)
        return Levels(alpha, sigma, u)


class Continuous(VariancePreserving, ContinuousTime):
    """Variance preserving in continuous time, log-SNR the schedule's curve: Kingma et al. (2021)."""

    name, title = "continuous", "every level of the schedule's curve (VDM)"

    def level_at(self, u: Array) -> tuple[Array, Array]:
        return self.on_curve(u)

    def time_at(self, log_sigma: Array) -> Array:
        """By bisection of the curve."""
        log_snr = curve(self.description)
        low, high = np.zeros_like(log_sigma), np.ones_like(log_sigma)
        for _ in range(60):
            middle = (low + high) / 2
            below = -log_snr(middle) / 2 < log_sigma
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high


class EDM(ContinuousTime):
    """alpha is 1, ln sigma goes evenly from ln 0.002 to ln 80; the network's input and output are scaled for data of standard
    deviation ``sigma_data``: Karras et al. (2022), table 1. A ladder ends at the smallest sigma, and Heun corrects every step,
    since the scaling keeps the network's error small.
    """

    name, title = "edm", "Karras et al."
    has_own_target = has_own_levels = True
    usual_sampler = "heun"
    usual_time_sampling: ClassVar = {"time_sampling": "log_normal", "time_mean": -1.2, "time_std": 1.2}
    longest_corrected = math.inf
    sigmas = (0.002, MOST_NOISE)
    least, most = np.log(sigmas).tolist()

    def level_at(self, u: Array) -> tuple[Array, Array]:
        return np.ones_like(u), np.exp(self.least + (self.most - self.least) * u)

    def time_at(self, log_sigma: Array) -> Array:
        time: Array = np.clip((log_sigma - self.least) / (self.most - self.least), 0, 1)
        return time

    @property
    def cleanest(self) -> float:
        return 0.0

    def first_noise(self, noise: Tensor, sigma: float) -> Tensor:
        return sigma * noise

    def scale_input(self, x: Tensor, sigma: Level) -> Tensor:
        """``x`` brought to unit variance."""
        return x / (sigma**2 + self.sigma_data**2) ** 0.5

    def scale_input_at(self, x: Tensor, time: Tensor) -> Tensor:
        sigma = (self.least + (self.most - self.least) * time).exp()
        return self.scale_input(x, sigma[:, None, None, None])

    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return (x_0 - self._skip(sigma) * (x_0 + sigma * eps)) / self._out(sigma)

    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return self._skip(sigma) * x + self._out(sigma) * output

    def error_of_x0(self, snr: Tensor) -> Tensor:
        return 1 / (snr + self.sigma_data**-2)

    def _skip(self, sigma: Level) -> Level:
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def _out(self, sigma: Level) -> Level:
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2) ** 0.5


class Flow(ContinuousTime):
    """Straight from data to noise, alpha = 1 - sigma; the network predicts the velocity: Liu et al. (2023)."""

    name, title = "flow", "rectified flow"
    has_own_target = has_own_levels = True
    usual_sampler = "euler"

    def level_at(self, u: Array) -> tuple[Array, Array]:
        return 1 - u, u

    def time_at(self, log_sigma: Array) -> Array:
        return 1 / (1 + np.exp(-log_sigma))

    def target(self, x_0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return eps - x_0

    def to_x0(self, output: Tensor, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return x - sigma * output

    def error_of_x0(self, snr: Tensor) -> Tensor:
        return 1 / (1 + snr.sqrt()) ** 2


def _custom(name: str, candidate: Any) -> type[Process]:
    """A custom process, checked at T = 10: its levels, and that ``to_x0`` inverts ``target``."""
    if not (inspect.isclass(candidate) and issubclass(candidate, Process)):
        raise plugins.Unfit("it is no such class")
    if lacking := ", ".join(sorted(candidate.__abstractmethods__)):
        raise plugins.Unfit(f"it lacks {lacking}")
    process = candidate(ProcessDescription(schedule="cosine", prediction="v", timesteps=10))
    for call, count, levels in (
        ("levels(5)", 5, process.levels(5)),
        ("levels_of_bound(5)", 5, process.levels_of_bound(5)),
        ("levels_of_every_t of 7 values", 7, process.levels_of_every_t(np.arange(7) / 7)),
    ):
        if not isinstance(levels, Levels) or {np.shape(table) for table in vars(levels).values()} != {(count,)}:
            raise plugins.Unfit(f"{call} gives no Levels of {count}")
    if (np.diff(process.levels(5).log_sigmas()) >= 0).any():
        raise plugins.Unfit("levels(5) do not go from the noisiest to the cleanest")
    import torch

    alpha, sigma = float(process.levels(5).alphas[2]), float(process.levels(5).sigmas[2])
    x_0, eps = torch.linspace(-1, 1, 32).view(2, 1, 4, 4), torch.linspace(2, -1, 32).view(2, 1, 4, 4)
    restored = process.to_x0(process.target(x_0, eps, alpha, sigma), q_sample(x_0, eps, alpha, sigma), alpha, sigma)
    if restored.shape != x_0.shape or not torch.allclose(restored, x_0, atol=1e-3):
        raise plugins.Unfit("its to_x0 does not give back the x_0 that its target was made of")
    return candidate


PROCESS = plugins.Kind(
    "diffusion.process",
    "a subclass of stepladder.diffusion.processes.process.Process (ContinuousTime, VariancePreserving) without abstract methods",
    _custom,
)
PROCESSES: dict[str, type[Process]] = plugins.Table(
    PROCESS, {process.name: process for process in (Discrete, Continuous, EDM, Flow)}
)


def process_of(description: ProcessDescription) -> Process:
    """The process of a model's description; raises ``UserError`` where there is no such process or schedule."""
    if description.schedule not in ("log_snr", "betas"):
        CURVES[description.schedule]
    return PROCESSES[description.process](description)


def _nearest(log_sigmas: Array, wanted: Array) -> npt.NDArray[np.int64]:
    """Indices into ``log_sigmas``, which rise, of the sigmas nearest to those of ``wanted``; both are logarithms."""
    above = np.minimum(np.searchsorted(log_sigmas, wanted - 1e-9), len(log_sigmas) - 1)
    below = np.maximum(above - 1, 0)
    sigma, low, high = np.exp(wanted), np.exp(log_sigmas[below]), np.exp(log_sigmas[above])
    with np.errstate(invalid="ignore"):
        return np.where(sigma - low < high - sigma, below, above)
