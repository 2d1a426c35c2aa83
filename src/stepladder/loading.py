"""Loads a trained network of any family from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stepladder.description import FILE, WEIGHTS, Description, brief, read, refused
from stepladder.errors import UserError
from stepladder.plugins import CustomCodeMissing

D = TypeVar("D", bound=Description)
N = TypeVar("N", bound=nn.Module)
FAILURES = (
    AssertionError, AttributeError, ArithmeticError, KeyError, IndexError, MemoryError, RuntimeError, TypeError, ValueError, UserError
)  # fmt: skip


def load(folder: Path, build: Callable[[D], N], *records: type[D], remedy: str = "") -> tuple[N, D]:
    """The network, in evaluation mode on the CPU, and the description of the model in ``folder``.

    Args:
        build: makes the network that a description describes.
        records: records of the accepted families. remedy: see ``description.read``.

    Raises:
        UserError: as ``description.read``, or the weights are damaged, or do not fit the described network.
    """
    described = read(folder, *records, remedy=remedy)
    names = [described.kind]
    try:
        network = build(described)
    except CustomCodeMissing as error:
        raise UserError(f"{folder} is of a model that needs code of its maker's own: {error}") from None
    except FAILURES as error:
        why = f"its {FILE} describes no network that can be built ({brief(error)})"
        raise refused(folder, names, why, remedy) from None
    try:
        weights, named = load_file(folder / WEIGHTS), dict(network.named_parameters(remove_duplicate=False))
        shared = {id(named[name]): weight for name, weight in weights.items() if name in named}  # stored once
        network.load_state_dict(weights | {n: shared[id(p)] for n, p in named.items() if id(p) in shared})
    except (OSError, SafetensorError, *FAILURES) as error:
        why = f"its weights are damaged, or not those of its {FILE} ({brief(error)})"
        raise refused(folder, names, why, remedy) from None
    return network.eval(), described
