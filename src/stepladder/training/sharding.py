"""Fully sharded data parallel (FSDP2): every rank keeps a share of the network, its gradients and its optimiser's state.

Ranks do the same work on the same batches as under DDP, and a checkpoint holds full tensors: a training may go on under
the other strategy, or on another number of ranks. See Zhao et al. 2023 (PyTorch FSDP) and Rajbhandari et al. 2020 (ZeRO-3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from stepladder.errors import UserError
from stepladder.tasks.task import Task


def gather_full(tensor: Tensor) -> Tensor:
    """The full tensor of one that may be sharded; all ranks have to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def place_like(tensor: Tensor, example: Tensor) -> Tensor:
    """A copy of the full ``tensor``, on the device and with the sharding of ``example``."""
    if not isinstance(example, DTensor):
        return tensor.to(example.device, copy=True)
    moved = tensor.to(example.to_local().device).contiguous()
    return distribute_tensor(moved, example.device_mesh, example.placements, src_data_rank=None).clone()


class ShardedStrategy(DDPStrategy):
    """DDP, but that the network's parameters are sharded where DDP has a copy on every rank.

    The full network is gathered for a forward and a backward, so this saves the memory of gradients, of the optimiser's
    state and of the average. (Block by block would save more; the networks compute some things for all blocks at once.) At
    the start every rank holds the network in the memory of its node.
    """

    def model_to_device(self) -> None:
        """Nothing yet: ``configure_ddp`` places the network after sharding."""

    def configure_ddp(self) -> None:
        """Shard the network among the ranks."""
        assert isinstance(self.lightning_module, Task)
        shard(self.lightning_module, self.root_device)
        self.lightning_module.to(self.root_device)

    def lightning_module_state_dict(self) -> dict[str, Tensor]:
        return {name: gather_full(tensor).cpu() for name, tensor in super().lightning_module_state_dict().items()}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        state: dict[str, Tensor] = tree_map_only(
            DTensor, lambda tensor: gather_full(tensor).cpu(), super().optimizer_state(optimizer)
        )
        return state

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each rank its shards of the full state in a checkpoint."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            numbers = [number for group in state["param_groups"] for number in group["params"]]
            for number, parameter in zip(numbers, parameters, strict=True):
                for name, value in state["state"].get(number, {}).items():
                    if value.shape == parameter.shape:
                        state["state"][number][name] = place_like(value, parameter)
            optimizer.load_state_dict(state)


def shard(task: Task, device: torch.device) -> None:
    """Shard the network of ``task`` over all ranks.

    Raises:
        UserError: the task is not ``shardable``: it uses weights outside of the network's forward.
    """
    model = task.model
    if not task.shardable:
        raise UserError(
            "STEPLADDER_STRATEGY=fsdp shards a network that is trained as a whole through its forward; this model's training "
            "uses weights outside of it: use ddp."
        )
    for parameter in model.parameters():  # which may be channels last
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    fully_shard(model, mesh=mesh, reshard_after_forward=True)  # so that outside of it parameters are sharded
