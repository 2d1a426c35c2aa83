"""Layer-wise unfreezing: parts of a network that are trained only after a while (Howard and Ruder 2018, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from stepladder.errors import UserError

SHARE = 0.5  # the parts are unfrozen within this share of the steps


def frozen(parts: Sequence[str], step: int, steps: int) -> tuple[str, ...]:
    """Those of ``parts`` that are frozen in optimiser step ``step`` (0-based) of ``steps``.

    The i-th of n parts, i = 1, ..., n, is trained from i/n of the first half of the steps on.
    """
    return tuple(part for i, part in enumerate(parts, 1) if step * len(parts) < i * SHARE * steps)


def freeze(model: nn.Module, parts: Sequence[str], step: int, steps: int) -> None:
    """Remove the gradients of those ``parts`` that are frozen in optimiser step ``step`` (0-based) of ``steps``.

    A parameter without a gradient is left alone by the optimiser: no weight decay, and its moments start when it is
    unfrozen. What is frozen is a function of the step's number alone, so that resuming needs no state. All gradients are
    still computed, which costs their time; ``requires_grad`` would save it, but DDP fixes at the start which parameters
    it waits for, and all ranks would have to rebuild it at every change.

    Args:
        parts: names of modules or parameters of ``model``; a module includes all its submodules.
    """
    if frozen_parts := frozen(parts, step, steps):
        for name, parameter in model.named_parameters():
            if _below(name, frozen_parts):
                parameter.grad = None


def check_parts(model: nn.Module, parts: Sequence[str]) -> None:
    """Raise ``UserError`` where ``model`` has not all of ``parts``."""
    names = [name for name, _ in model.named_parameters()]
    for part in parts:
        if not any(_below(name, [part]) for name in names):
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            raise UserError(
                f"unfreeze names {part!r}, and the network has no such part; it has {known}, and what is below them."
            )


def _below(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)
