"""What a denoising network costs: parameters, arithmetic, time and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stepladder.diffusion.networks.backbones import build, example
from stepladder.diffusion.networks.convolutions import Spectral
from stepladder.diffusion.networks.description import Network, described
from stepladder.params import Diffusion
from stepladder.params.backbones import BACKBONES, Backbone

REPEATS = 5


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        name: what it is.
        parameters: their number.
        flops: of a forward for one picture, a multiplication and an addition counted as two.
        step_seconds: of a training step (forward, backward, AdamW) at the batch, the median of five.
        activation_bytes: kept for the backward of one picture.
    """

    name: str
    parameters: int
    flops: int
    step_seconds: float
    activation_bytes: int


def costs(section: Diffusion, shape: Sequence[int], classes: int, batch: int) -> list[Cost]:
    """The network of ``section`` first, then all backbones, each with its variants.

    Raises:
        UserError: the network chosen cannot be built for pictures of ``shape`` (C, H, W).
    """
    chosen = _model(section, shape, classes)
    measured = [cost(_title(chosen) + " (chosen)", chosen, batch)]
    variants = [
        _model(section.model_copy(update={"backbone": name}), shape, classes).model_copy(update=change)
        for name, backbone in BACKBONES.items()
        for change in _changes(backbone)
    ]
    for variant in variants:
        if variant != chosen and _title(variant) not in {c.name for c in measured}:
            measured.append(cost(_title(variant), variant, batch))
    return measured


def cost(name: str, model: Network, batch: int) -> Cost:
    """The cost of the network ``model`` of a description, on a GPU where there is one, else on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build(model).to(device)
    return Cost(
        name,
        sum(p.numel() for p in network.parameters()),
        flops(network, model),
        _step_seconds(network, model, batch),
        _activation_bytes(network, model),
    )


def flops(network: nn.Module, model: Network) -> int:
    """Operations of a forward for one picture: matrix products, convolutions, attention as torch counts them, and FFTs.

    A real FFT of n points is counted as 2.5 n log2 n (half of Frigo and Johnson's 5 n log2 n for a complex one), and its
    product as 3 n. Norms and activations are not counted.
    """
    extra = 0

    def spectral(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        nonlocal extra
        points = arguments[0][0].numel()
        area = arguments[0].shape[2] * arguments[0].shape[3]
        extra += int(2 * 2.5 * points * max(area, 2).bit_length() + 3 * points)

    hooks = [m.register_forward_hook(spectral) for m in network.modules() if isinstance(m, Spectral)]
    # attention written out as matrix products: the fused kernel of a CPU is not counted
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*example(network, model, 1))
    for hook in hooks:
        hook.remove()
    total: int = counter.get_total_flops() + extra
    return total


def _step_seconds(network: nn.Module, model: Network, batch: int) -> float:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)
    inputs = example(network, model, batch)
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        F.mse_loss(network(*inputs), torch.zeros(1, device=inputs[0].device).expand(batch, *_outputs(model))).backward()
        optimizer.step()
        optimizer.zero_grad()
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first warms up


def _activation_bytes(network: nn.Module, model: Network) -> int:
    stored_bytes: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            stored_bytes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(*example(network, model, 1)).square().sum()
    del loss
    return sum(stored_bytes.values())


def _model(section: Diffusion, shape: Sequence[int], classes: int) -> Network:
    network = {
        "backbone": section.backbone,
        "shape": list(shape),
        "classes": classes if section.conditional else 0,
        "outputs": shape[0] * (2 if section.variance == "learned_range" else 1),
        "vocabulary": 1000 if section.text else 0,
        "text_length": 32,
        "text_encoder": section.text_encoder.model_dump(),
        "low_resolution": section.low_resolution,
    }
    return described(network | section.arguments())


def _outputs(model: Network) -> tuple[int, ...]:
    return (model.outputs or model.shape[0], *model.shape[1:])


def _changes(backbone: type[Backbone]) -> list[dict[str, str]]:
    """The variants of a backbone that are compared: one for each choice of an argument, or only the backbone itself."""
    if backbone.VARIANTS is None:
        return [{}]
    argument = backbone.VARIANTS[0]
    return [{argument: choice} for choice in get_args(backbone.model_fields[argument].annotation)]


def _title(model: Network) -> str:
    if model.backbone not in BACKBONES or not (variants := BACKBONES[model.backbone].VARIANTS):
        return model.backbone
    return f"{model.backbone}, {getattr(model, variants[0]).replace('_', ' ')} {variants[1]}"
