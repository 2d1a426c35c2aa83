"""Noise schedules, valid at every number of timesteps T >= 1.

A schedule is one continuous curve of the share of signal, alphas_cumprod(u), over u from 0 (data) to 1 (noise), or
equivalently of log-SNR = log(alphas_cumprod / (1 - alphas_cumprod)). T steps are its values at u = 1/T, 2/T, ..., 1: T
changes the discretisation and nothing else, so that models of different T can be compared. All tables are float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from stepladder import plugins
from stepladder.diffusion.processes.settings import ProcessDescription
from stepladder.errors import UserError

Array = npt.NDArray[np.float64]
Curve = Callable[[Array], Array]

LINEAR_BETAS = np.linspace(1e-4, 0.02, 1000)
SCALED_LINEAR_BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
SIGMOID_BETAS = 1e-4 + (0.02 - 1e-4) / (1 + np.exp(-np.linspace(-6, 6, 1000)))
COSINE_OFFSET = 0.008
LARGEST_BETA = 0.999
SMALLEST_BETA = 1e-12  # below it 1 - beta is 1 in float64, and the bound divides by what is left
LAPLACE_SCALE, LAPLACE_OFFSET = 0.5, 1e-6
LOG_SNR_LIMIT = 20.0
SIGNAL_LEFT = 0.05


@dataclass(frozen=True)
class Schedule:
    """The noise of T steps.

    Attributes:
        betas: ``(T,)``, in [1e-12, 1]: share of the variance that step t = 0, ..., T-1 replaces by noise.
        alphas_cumprod: ``(T,)``, decreasing: share of signal left after step t.
    """

    betas: Array
    alphas_cumprod: Array

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)

    @classmethod
    def of(cls, alphas_cumprod: Array) -> Schedule:
        """The schedule that leaves the given shares of signal ``(T,)``; where these hardly fall, betas of 1e-12."""
        before = np.concatenate([[1.0], alphas_cumprod[:-1]])
        return cls(np.maximum(1 - alphas_cumprod / before, SMALLEST_BETA), alphas_cumprod)

    def respaced(self, steps: npt.NDArray[np.int64]) -> Schedule:
        """The chain that visits only ``steps`` (increasing, ``(S,)``): Nichol and Dhariwal (2021), section 4."""
        return Schedule.of(self.alphas_cumprod[steps])


def through(betas: Array, u: Array) -> Array:
    """alphas_cumprod of a published table of betas, at its steps exactly; in between, log-linear."""
    log_signal = np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
    signal: Array = np.exp(np.interp(u * len(betas), np.arange(len(log_signal)), log_signal))
    return signal


def linear(u: Array) -> Array:
    """Ho et al. (2020): at T = 1000 the betas rise from 1e-4 to 0.02."""
    return through(LINEAR_BETAS, u)


def scaled_linear(u: Array) -> Array:
    """Rombach et al. (2022, Stable Diffusion): at T = 1000 sqrt(beta) rises from sqrt(0.00085) to sqrt(0.012).

    As published it leaves 6.8% of the signal at the last step, see Lin et al. (2024); ``zero_terminal_snr`` mends it.
    """
    return through(SCALED_LINEAR_BETAS, u)


def sigmoid(u: Array) -> Array:
    """GeoDiff (Xu et al. 2022): at T = 1000 the betas are 1e-4 + (0.02 - 1e-4) sigmoid of -6 to 6, as in diffusers."""
    return through(SIGMOID_BETAS, u)


def cosine(u: Array) -> Array:
    """Nichol and Dhariwal (2021), equation 17."""
    angle = (u + COSINE_OFFSET) / (1 + COSINE_OFFSET) * np.pi / 2
    signal: Array = np.cos(angle) ** 2 / np.cos(COSINE_OFFSET / (1 + COSINE_OFFSET) * np.pi / 2) ** 2
    return signal


cosine.largest_beta = LARGEST_BETA  # type: ignore[attr-defined]  # as published: the last step would else leave no signal at all


def laplace(u: Array) -> Array:
    """Hang et al. (2024), table 1: log-SNR is the quantile of a Laplace distribution of mean 0 and scale 1/2.

    The offset of 1e-6 keeps the ends finite, as in diffusers, whose alphas_cumprod is the square root of this one: it
    takes the paper's alpha for its square, and so leaves 18% of the signal at the last step instead of 3%.
    """
    return _share(-LAPLACE_SCALE * np.sign(0.5 - u) * np.log(1 - 2 * np.abs(0.5 - u) + LAPLACE_OFFSET))


def _custom(name: str, candidate: Any) -> Curve:
    """A custom curve, checked at 101 values of u."""
    plugins.check_signature(candidate, "u")
    u = np.linspace(0, 1, 101)
    signal = candidate(u.copy())
    if not isinstance(signal, np.ndarray) or (signal.dtype, signal.shape) != (u.dtype, u.shape):
        actual = f"{signal.dtype} {signal.shape}" if isinstance(signal, np.ndarray) else type(signal).__name__
        raise plugins.Unfit(f"it gives {actual} for u of float64 {u.shape}")
    if not (signal > 0).all() or not (signal <= 1).all() or (np.diff(signal) > 0).any() or signal[-1] >= signal[0]:
        raise plugins.Unfit("what it gives does not fall from at most 1 to above 0")
    return cast(Curve, candidate)


SCHEDULE = plugins.Kind(
    "diffusion.schedule",
    "a function of u, a float64 array (N,) from 0 (data) to 1 (noise), that gives the share of signal there, float64 (N,), which "
    "falls from at most 1 to above 0",
    _custom,
)
CURVES: dict[str, Curve] = plugins.Table(
    SCHEDULE,
    {
        "linear": linear,
        "scaled_linear": scaled_linear,
        "cosine": cosine,
        "sigmoid": sigmoid,
        "laplace": laplace,
    },
)


def schedule(name: str, timesteps: int) -> Schedule:
    """The schedule ``name`` of ``CURVES`` at T = ``timesteps``; no beta exceeds its curve's ``largest_beta``, where it has one.

    Raises:
        UserError: ``timesteps`` is less than 1, or there is no such schedule.
    """
    _check(timesteps)
    signal = CURVES[name](np.arange(1, timesteps + 1) / timesteps)
    betas = np.minimum(Schedule.of(signal).betas, getattr(CURVES[name], "largest_beta", 1.0))
    return Schedule(betas, np.cumprod(1 - betas, dtype=np.float64))


def of_description(description: ProcessDescription) -> Schedule:
    """The T steps of a model of the discrete process.

    Warns where a schedule of the user leaves more than 5% of the signal at the last step: sampling starts from pure
    noise, which such a model has never seen.

    Raises:
        UserError: T is less than 1, there is no such schedule, or the number of ``betas`` is not T.
    """
    name, timesteps = description.schedule, description.timesteps
    if name == "betas":
        betas = np.asarray(description.betas, dtype=np.float64)
        if len(betas) != timesteps:
            raise UserError(f"diffusion.betas has {len(betas)} values for T={timesteps} timesteps; give one for each.")
        made = Schedule(betas, np.cumprod(1 - betas, dtype=np.float64))
    elif name == "log_snr":
        _check(timesteps)
        made = Schedule.of(_share(curve(description)(np.arange(1, timesteps + 1) / timesteps)))
    else:
        made = schedule(name, timesteps)
    if description.zero_terminal_snr:
        return zero_terminal(made)
    left = float(made.alphas_cumprod[-1]) ** 0.5
    if name in ("betas", "log_snr") and left > SIGNAL_LEFT:
        warnings.warn(
            f"diffusion.{name} leaves {left:.1%} of the signal at the last of T={timesteps} steps; sampling starts from pure "
            "noise, which the model then never sees: end with more noise, or set diffusion.zero_terminal_snr.",
            stacklevel=2,
        )
    return made


def curve(description: ProcessDescription) -> Callable[[Array], Array]:
    """log-SNR as a falling function of u in [0, 1], within -20 and 20 as in Salimans and Ho (2022).

    Raises:
        UserError: the schedule is a table of betas, which is no curve.
    """
    name = description.schedule
    if name == "log_snr":
        points = np.asarray(description.log_snr, dtype=np.float64)
        return lambda u: np.interp(u, np.linspace(0, 1, len(points)), points)
    if name == "betas":
        raise UserError(f"The schedule {name!r} is not a curve; there are: {', '.join((*CURVES, 'log_snr'))}.")
    share = CURVES[name]

    def log_snr(u: Array) -> Array:
        signal = share(np.asarray(u, dtype=np.float64))
        with np.errstate(divide="ignore"):
            clipped: Array = np.clip(np.log(signal) - np.log1p(-signal), -LOG_SNR_LIMIT, LOG_SNR_LIMIT)
            return clipped

    return log_snr


def zero_terminal(schedule: Schedule) -> Schedule:
    """``schedule`` rescaled to leave no signal at the last step: Lin et al. (2024), algorithm 1. Its last beta is 1."""
    root = np.sqrt(schedule.alphas_cumprod)
    if len(root) == 1:
        return Schedule.of(np.zeros(1))
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return Schedule.of(root**2)


def _share(log_snr: Array) -> Array:
    """alphas_cumprod at a log-SNR."""
    return 1 / (1 + np.exp(-log_snr))


def _check(timesteps: int) -> None:
    if timesteps < 1:
        raise UserError(f"T={timesteps} timesteps given; a diffusion process has 1 or more.")
