"""Linear layers in 8-bit integers: weights once, activations as they come (dynamic quantisation)."""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def int8(model: Network) -> Network:
    """A copy of ``model`` for a CPU, whose linear layers, the output's included, multiply 8-bit integers.

    PyTorch's own kernels, which torch deprecates in favour of torchao, whose int8 on a CPU was slower than single precision
    for few rows (``docs/decoding.md``); for lasting use, export to CTranslate2.
    """
    quantised = copy.deepcopy(model).cpu().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parent in list(quantised.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, _dynamic(child.weight, child.bias))
        if isinstance(getattr(quantised, "output", None), nn.Parameter):
            output: Any = quantised
            output.logits = _dynamic(output.output, output.output_bias).forward
    return quantised


def _dynamic(weight: Tensor, bias: Tensor | None) -> nn.Module:
    plain: Any = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    plain.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    plain.qconfig = torch.ao.quantization.default_dynamic_qconfig
    made: nn.Module = torch.ao.nn.quantized.dynamic.Linear.from_float(plain)
    return made
