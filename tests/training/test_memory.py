from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stepladder.errors import UserError
from stepladder.training.gradients import by_layer
from stepladder.training.memory import try_largest


class Task(nn.Module):
    device = torch.device("cpu")

    def __init__(self, error=None):
        super().__init__()
        self.model, self.error, self.seen = nn.Linear(3, 1), error, []

    def loss(self, batch):
        self.seen.append(batch["x"].shape)
        if self.error:
            raise self.error
        return self.model(nn.functional.dropout(batch["x"])).sum()


class Plugin:
    def train_step_context(self):
        import contextlib

        return contextlib.nullcontext()


TRAINER = SimpleNamespace(strategy=SimpleNamespace(batch_to_device=lambda batch: batch), precision_plugin=Plugin())


def test_the_largest_batch_is_tried_and_leaves_no_trace():
    task = Task()
    weights = task.model.weight.clone()
    before = torch.get_rng_state()
    try_largest(TRAINER, task, {"x": torch.ones(5, 3)})
    assert task.seen == [(5, 3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert task.model.weight.grad is None
    assert torch.equal(task.model.weight, weights)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_too_little_memory_is_one_sentence(error):
    with pytest.raises(UserError, match=r"largest batch \(x \(5, 3\)\) needs more memory .* raise training.accumulate"):
        try_largest(TRAINER, Task(error), {"x": torch.ones(5, 3)})
    with pytest.raises(RuntimeError, match="other"):
        try_largest(TRAINER, Task(RuntimeError("other")), {"x": torch.ones(5, 3)})


def test_gradient_norms_are_by_numbered_layer():
    model = nn.ModuleDict({"decoder": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), "norm": nn.LayerNorm(2)})
    for i, layer in enumerate(model["decoder"]):
        layer.weight.grad = torch.full((2, 2), float(i + 1))
        layer.bias.grad = torch.zeros(2)
    assert by_layer(model) == {"decoder.0": pytest.approx(2.0), "decoder.1": pytest.approx(4.0)}
