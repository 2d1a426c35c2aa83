"""Low-rank changes of a trained network's weights: Hu et al. (2022), "LoRA".

A layer's weight W becomes W + B A, where A ``(rank, inputs)`` starts at random and B ``(outputs, rank)`` at zero, so that the
network's output is at first unchanged. Only A and B are trained. The paper's factor alpha / rank is 1.
A convolution's weight ``(outputs, inputs, k, k)`` is treated as a matrix ``(outputs, inputs k k)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from stepladder.diffusion.networks.blocks import SpatialAttention, TextAttention
from stepladder.diffusion.networks.dit import Block
from stepladder.errors import UserError

ATTENTION = {
    SpatialAttention: ("qkv", "out"),
    TextAttention: ("q", "kv", "out"),
    Block: ("qkv", "out", "q_text", "kv_text", "out_text"),
}
ENDS = ("stem", "head", "text", "outputs", "inputs")  # parts of the networks that layers "all" leaves unchanged


class LowRank(nn.Module):
    """``weight`` to ``weight + up down``: up ``(outputs, rank)``, from zero; down ``(rank, inputs)``."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.flatten(1).shape
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """``(outputs, inputs, ...)`` to the same."""
        return weight + (self.up @ self.down).view(weight.shape)


class NewRows(nn.Module):
    """An embedding's ``weight`` plus learned changes of its rows from ``first`` on; the other rows stay as they are."""

    def __init__(self, weight: Tensor, first: int, count: int) -> None:
        super().__init__()
        self.first = first
        self.rows = nn.Parameter(weight.new_zeros(count, weight.shape[1]))

    def forward(self, weight: Tensor) -> Tensor:
        """``(rows, width)`` to the same."""
        last = self.first + len(self.rows)
        return torch.cat([weight[: self.first], weight[self.first : last] + self.rows, weight[last:]])


def inject(network: nn.Module, rank: int, layers: str = "attention") -> list[str]:
    """Freeze ``network`` and give its layers low-rank changes of ``rank``; returns their names.

    Args:
        layers: "attention": the projections of every attention but those within the text encoder; "all": further all other
            linear layers and convolutions but the first and the last, the text encoder and depthwise convolutions.

    Raises:
        UserError: there is no such layer, or one is too narrow for the rank.
    """
    network.requires_grad_(False)
    layers_by_name = dict(targets(network, layers))
    if not layers_by_name:
        raise UserError("The network has no attention, which adaptation.layers=attention changes; set it to all.")
    for name, layer in layers_by_name.items():
        if rank > min(layer.weight.flatten(1).shape):
            raise UserError(
                f"adaptation.rank={rank} is more than the layer {name} has, of {' x '.join(map(str, layer.weight.shape))} "
                "weights; give a smaller rank."
            )
    for layer in layers_by_name.values():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))
    return list(layers_by_name)


def targets(network: nn.Module, layers: str) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """The layers that ``inject`` changes, by name."""
    attention = {
        f"{name}.{part}"
        for name, module in network.named_modules()
        for part in ATTENTION.get(type(module), ())
        if hasattr(module, part)
    }
    for name, module in network.named_modules():
        if not isinstance(module, (nn.Conv2d, nn.Linear)) or name.split(".")[0] in ENDS:
            continue
        if name in attention or (layers == "all" and getattr(module, "groups", 1) == 1):
            yield name, module


def add_rows(embedding: nn.Embedding, first: int, count: int) -> None:
    """Let ``count`` rows of an ``embedding``, from ``first`` on, be trained, and no others."""
    embedding.requires_grad_(False)
    parametrize.register_parametrization(embedding, "weight", NewRows(embedding.weight, first, count))


def adapters(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that ``inject`` and ``add_rows`` added: ``LAYER.up``, ``LAYER.down``, ``LAYER.rows``."""
    return {
        f"{name}.{key}": value.detach()
        for name, module in network.named_modules()
        if parametrize.is_parametrized(module)
        for key, value in module.parametrizations["weight"][0].named_parameters()
    }


def merge(network: nn.Module) -> nn.Module:
    """``network`` with its changes added to its weights, in place: a plain network with the same outputs."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return network.requires_grad_()


@torch.no_grad()
def apply(network: nn.Module, changes: Mapping[str, Tensor], first: int = 0) -> nn.Module:
    """Add the saved ``adapters`` of another network of this kind to the weights of this one, in place.

    Args:
        first: row of the embedding at which the new rows begin.
    """
    for key, change in changes.items():
        name, _, kind = key.rpartition(".")
        weight: Tensor = network.get_submodule(name).weight  # type: ignore[assignment]
        if kind == "rows":
            weight[first : first + len(change)] += change
        elif kind == "up":
            weight += (change @ changes[f"{name}.down"]).view(weight.shape)
    return network
