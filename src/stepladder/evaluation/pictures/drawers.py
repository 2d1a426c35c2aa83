"""Samples the pictures that are judged and measures the cost: on one device, or on several that sample a share each.

The noise of a picture depends on its number alone, and the batches are the same whatever the number of devices: so are the
figures.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stepladder.diffusion.classifier import load as load_classifier
from stepladder.diffusion.networks.conditions import Condition, select_rows
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.sampling.drawing import BATCH, draw, load
from stepladder.errors import UserError
from stepladder.params import Sampling

Cost = dict[str, float]
Arrays = dict[str, npt.NDArray[np.generic]]  # a condition, on its way to another process
Drawer = Callable[[Condition, int, Sampling], tuple[Tensor, Cost]]
SHARES = 8  # least number of batches, so that there are some for several devices


def timed(model: nn.Module, sample: Callable[[], Tensor]) -> tuple[Tensor, Cost]:
    """The pictures ``(N, C, H, W)`` that ``sample()`` returns, and the cost of one: time, and evaluations of ``model``."""
    evaluations = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal evaluations
        evaluations += len(inputs[0])

    hook = model.register_forward_pre_hook(count)
    start = time.perf_counter()
    try:
        pictures = sample()
    finally:
        hook.remove()
    seconds = time.perf_counter() - start
    return pictures, {
        "milliseconds_per_image": 1000 * seconds / len(pictures),
        "network_evaluations": evaluations / len(pictures),
    }


def local_sampler(
    model: nn.Module, description: DiffusionDescription, seed: int, classifier: nn.Module | None = None
) -> Drawer:
    """Draws on the device of ``model``."""

    def sample(condition: Condition, steps: int, sampling: Sampling) -> tuple[Tensor, Cost]:
        batch = _batch(condition)
        return timed(
            model,
            lambda: draw(
                model, description, condition, steps, sampling, seed=seed, batch_size=batch, classifier=classifier
            ),
        )

    return sample


@contextmanager
def parallel_sampler(devices: int, model: Path, seed: int, classifier: Path | None = None) -> Iterator[Drawer]:
    """Samples with the model in folder ``model`` on ``devices`` devices, each with a process that has loaded the model.

    ``milliseconds_per_image`` is the time that one device takes, as if it worked alone.

    Raises:
        UserError: one of these processes was ended from outside.
    """
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(devices):
        numbers.put(number)
    with ProcessPoolExecutor(devices, context, _start_worker, (numbers, model, classifier)) as pool:

        def sample(condition: Condition, steps: int, sampling: Sampling) -> tuple[Tensor, Cost]:
            batch, count = _batch(condition), len(condition["labels"])
            shares = [(first, select_rows(condition, first, first + batch)) for first in range(0, count, batch)]
            try:
                work = [pool.submit(_share, _arrays(part), first, steps, sampling, seed) for first, part in shares]
                done = [future.result() for future in work]
            except BrokenProcessPool:
                raise UserError(
                    "A process that draws pictures was ended from outside, perhaps for want of memory: run the same command "
                    "again, with a smaller STEPLADDER_DEVICES if it happens again."
                ) from None
            sums = {name: sum(len(part) * cost[name] for part, cost in done) / count for name in done[0][1]}
            return torch.cat([torch.from_numpy(part) for part, _ in done]), sums

        yield sample


def _batch(condition: Condition) -> int:
    """Pictures sampled at once: depends on their number alone."""
    return min(BATCH, max(1, -(-len(condition["labels"]) // SHARES)))


def _arrays(condition: Condition) -> Arrays:
    return {name: tensor.cpu().numpy() for name, tensor in condition.items()}


_loaded: dict[str, Any] = {}


def _start_worker(numbers: Any, model: Path, classifier: Path | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os._exit(128 + received))
    device = f"cuda:{numbers.get() % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    network, description = load(model)
    guide = load_classifier(classifier, description)[0].to(device) if classifier else None
    _loaded.update(model=network.to(device), description=description, classifier=guide)


def _share(arrays: Arrays, first: int, steps: int, sampling: Sampling, seed: int) -> tuple[Any, Cost]:
    condition = {name: torch.from_numpy(array) for name, array in arrays.items()}
    model, description, guide = _loaded["model"], _loaded["description"], _loaded["classifier"]
    count = len(condition["labels"])
    pictures, cost = timed(
        model,
        lambda: draw(
            model, description, condition, steps, sampling, seed=seed, first=first, batch_size=count, classifier=guide
        ),
    )
    return pictures.numpy(), cost
