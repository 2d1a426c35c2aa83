"""The refused combinations of keys within ``diffusion``.

Each is a function that raises ``ValueError`` with the reason; those between sections are in ``combinations``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stepladder.diffusion.processes.processes import PROCESSES

if TYPE_CHECKING:
    from stepladder.params.diffusion import Diffusion


def target_is_of_the_process(d: Diffusion) -> None:
    """Where the process defines its target, ``prediction`` must be v, which then means that target."""
    if PROCESSES[d.process].has_own_target and d.prediction != "v":
        raise ValueError(
            f"diffusion.prediction={d.prediction} with diffusion.process={d.process}, which has a target of its own; "
            "set prediction to v, which then means it"
        )


def eps_needs_signal(d: Diffusion) -> None:
    """The noise cannot be predicted where the last step is noise alone."""
    if d.prediction == "eps" and d.zero_terminal_snr:
        raise ValueError(
            "diffusion.prediction=eps with diffusion.zero_terminal_snr: at the last step x_t is the noise itself, which "
            "says nothing of x_0; predict v or x0"
        )


def bounds_are_of_steps(d: Diffusion) -> None:
    """The learned variance and the losses of the variational bound go with a process of T steps."""
    if not PROCESSES[d.process].has_steps and d.variance != "fixed":
        raise ValueError(
            f"diffusion.variance={d.variance} with diffusion.process={d.process}: its range is that between two "
            "of T steps; set process to discrete, or variance to fixed"
        )
    if not PROCESSES[d.process].has_steps and d.loss != "simple":
        raise ValueError(
            f"diffusion.loss={d.loss} with diffusion.process={d.process}: the bound's terms belong to T steps; "
            "set process to discrete, or loss to simple"
        )


def loss_trains_the_variance(d: Diffusion) -> None:
    """A learned variance and a loss that trains it come together; the bound alone has its own weights."""
    if d.loss == "hybrid" and d.variance != "learned_range":
        raise ValueError(
            "diffusion.loss=hybrid with diffusion.variance=fixed: its bound trains the variance only, and there is none "
            "to train; set variance to learned_range, or loss to simple"
        )
    if d.variance == "learned_range" and d.loss == "simple":
        raise ValueError(
            "diffusion.variance=learned_range with diffusion.loss=simple, which does not train the variance; "
            "set loss to hybrid or vlb"
        )
    if d.loss == "vlb" and d.weighting != "none":
        raise ValueError(
            f"diffusion.weighting={d.weighting} with diffusion.loss=vlb, whose weights are the bound's own; "
            "set weighting to none"
        )


def times_are_weighted_once(d: Diffusion) -> None:
    """Times sampled by their loss need T steps; a weighting excludes logit-normal and log-normal times."""
    if d.time_sampling == "loss_second_moment" and not PROCESSES[d.process].has_steps:
        raise ValueError(
            f"diffusion.time_sampling=loss_second_moment with diffusion.process={d.process}: it keeps a history for "
            "each of T steps; set process to discrete, or choose another time_sampling"
        )
    if d.weighting != "none" and d.time_sampling in ("logit_normal", "log_normal"):
        raise ValueError(
            f"diffusion.weighting={d.weighting} with diffusion.time_sampling={d.time_sampling}: both choose how much "
            "each noise level counts, and their product is neither; keep one"
        )


def zero_terminal_snr_is_trained(d: Diffusion) -> None:
    """A last step without signal needs T steps, a weight above 0, and a chance to be sampled."""
    if d.zero_terminal_snr and not PROCESSES[d.process].has_steps:
        raise ValueError(
            f"diffusion.zero_terminal_snr with diffusion.process={d.process}: it rescales the table of T steps; "
            "set process to discrete"
        )
    if d.zero_terminal_snr and d.weighting in ("min_snr", "p2"):
        raise ValueError(
            f"diffusion.weighting={d.weighting} with diffusion.zero_terminal_snr: the last step's signal-to-noise ratio is 0 "
            "and so is its weight, it would never be trained; set weighting to none or edm"
        )
    if d.zero_terminal_snr and d.time_sampling == "log_normal":
        raise ValueError(
            "diffusion.time_sampling=log_normal with diffusion.zero_terminal_snr: at the last step sigma over alpha is "
            "infinite, it would never be drawn; choose another time_sampling"
        )


def unfrozen_parts_are_there(d: Diffusion) -> None:
    """``unfreeze`` names parts that the backbone has."""
    if d.network is None:
        return  # a custom network is checked before it is trained
    parts = d.network.PARTS
    strange = [part for part in d.unfreeze if part.split(".")[0] not in parts]
    if strange:
        raise ValueError(
            f"diffusion.unfreeze names {strange[0]!r}, and no network of backbone {d.backbone} has such a part; there are: "
            f"{', '.join(parts)}, and what is below them"
        )


def own_schedule_has_its_values(d: Diffusion) -> None:
    """A custom schedule comes with its values, and the process can use it."""
    for name in ("log_snr", "betas"):
        if bool(getattr(d, name)) != (d.schedule == name):
            raise ValueError(
                f"diffusion.schedule={d.schedule} with {len(getattr(d, name))} values in diffusion.{name}; "
                f"give values with schedule {name}, and only then"
            )
    if d.log_snr and (len(d.log_snr) < 2 or any(b >= a for a, b in zip(d.log_snr, d.log_snr[1:], strict=False))):
        raise ValueError(f"diffusion.log_snr={list(d.log_snr)} does not fall; give at least two falling values")
    if d.log_snr and PROCESSES[d.process].has_own_levels:
        raise ValueError(
            f"diffusion.schedule=log_snr with diffusion.process={d.process}, which has levels of its own; set process to "
            "discrete or continuous"
        )
    if any(beta == 1 for beta in d.betas[:-1]):
        raise ValueError("diffusion.betas has a 1 before its end: nothing is left for the steps after it; end with it")
    if d.betas and d.betas[-1] == 1 and d.prediction == "eps":
        raise ValueError(
            "diffusion.prediction=eps with diffusion.betas that end with 1: at the last step x_t is the noise itself, which "
            "says nothing of x_0; predict v or x0"
        )
    if d.betas and not PROCESSES[d.process].has_steps:
        raise ValueError(f"diffusion.schedule=betas is a table of T steps; process {d.process} needs a curve")


def curriculum_grows(d: Diffusion) -> None:
    """The sides of the curriculum grow, can be cut by the network, and begin above the low resolution."""
    if list(d.curriculum) != sorted(set(d.curriculum)):
        raise ValueError(f"diffusion.curriculum={list(d.curriculum)} does not grow; name growing sides in pixels")
    unit, argument = d.network.unit() if d.network else (1, "")
    if any(side % unit for side in d.curriculum):
        raise ValueError(
            f"diffusion.curriculum={list(d.curriculum)} has a side that is not a multiple of {unit}, which diffusion."
            f"{d.backbone}.{argument} asks for; change one of them"
        )
    if d.curriculum and d.curriculum[0] <= d.low_resolution:
        raise ValueError(
            f"diffusion.curriculum={list(d.curriculum)} starts with a side of no more than "
            f"diffusion.low_resolution={d.low_resolution}, from which pictures are made; start with a larger one"
        )


COMBINATIONS: tuple[Callable[[Diffusion], None], ...] = (
    target_is_of_the_process,
    eps_needs_signal,
    bounds_are_of_steps,
    loss_trains_the_variance,
    times_are_weighted_once,
    zero_terminal_snr_is_trained,
    unfrozen_parts_are_there,
    own_schedule_has_its_values,
    curriculum_grows,
)
