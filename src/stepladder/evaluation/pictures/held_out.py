"""What is asked of a model that is judged: the conditions of the held-out pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stepladder.baselines.description import BaselineDescription
from stepladder.data.grid import scaled
from stepladder.data.image_arrays import ImageArrays
from stepladder.diffusion.networks.conditions import Condition
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.super_resolution import low_resolution
from stepladder.errors import UserError

STRIP_ROWS, STRIP_COLUMNS = 4, 10  # of the strip of pictures that is kept: its first
Rows = npt.NDArray[np.int64]


def rows(test: ImageArrays, count: int) -> Rows:
    """Numbers of ``count`` held-out pictures, again and again where there are fewer, in an order for strips.

    Classes have the shares that they have among the held-out pictures; the strip's pictures come first, one class a column.
    """
    turns = np.resize(np.arange(len(test.labels)), count)
    if not test.card["classes"]:
        return turns
    classes = len(test.card["classes"])
    strip = np.arange(STRIP_ROWS * STRIP_COLUMNS) % STRIP_COLUMNS % classes
    wanted = np.bincount(test.labels[turns], minlength=classes)
    left = np.maximum(wanted - np.bincount(strip, minlength=classes), 0)
    labels = np.concatenate([strip, np.repeat(np.arange(classes), left)])[:count]
    chosen = np.empty(count, dtype=np.int64)
    for label in range(classes):
        places, members = np.flatnonzero(labels == label), np.flatnonzero(test.labels == label)
        chosen[places] = np.resize(members, len(places))
    return chosen


def alike(labels: Rows, wanted: Rows, seed: int) -> Rows:
    """Numbers of pictures drawn at random, by ``seed``, whose ``labels`` have the shares of ``wanted``; of a class that has
    fewer than wanted, all.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    classes, counts = np.unique(wanted, return_counts=True)
    chosen = [order[labels[order] == label][:count] for label, count in zip(classes, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def condition(test: ImageArrays, numbers: Rows, description: DiffusionDescription | BaselineDescription) -> Condition:
    """What the held-out pictures ``numbers`` ``(N,)`` show, as the model that is described is told it.

    Classes and texts, where it knows them, and of a super-resolution model the pictures themselves, made smaller, without noise.

    Raises:
        UserError: the model reads texts, and the pictures were prepared without.
    """
    labels = test.labels[numbers] if description.classes else np.zeros(len(numbers), dtype=np.int64)
    asked: Condition = {"labels": torch.from_numpy(labels)}
    if not isinstance(description, DiffusionDescription):
        return asked
    if description.model.vocabulary:
        if test.texts is None:
            raise UserError(
                "The model reads texts and the prepared pictures have none; name their column in images.text_column and run "
                "`dvc repro prepare@images`."
            )
        asked["text"] = torch.from_numpy(test.texts[numbers])
    if side := description.model.low_resolution:
        asked["low_resolution"] = low_resolution(scaled(test.images[numbers]), side)
        asked["low_resolution_noise"] = torch.zeros(len(numbers))
    return asked
