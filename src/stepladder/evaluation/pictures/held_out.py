"""The conditions that a model is judged with: those of the held-out pictures."""

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

STRIP_ROWS, STRIP_COLUMNS = 4, 10  # of the strip, which shows the first pictures
Rows = npt.NDArray[np.int64]


def rows(test: ImageArrays, count: int) -> Rows:
    """Numbers of ``count`` held-out pictures, repeated where there are fewer, in the order of the strip.

    Classes have the same shares as among the held-out pictures. The pictures of the strip come first, one class in each column.
    """
    repeated = np.resize(np.arange(len(test.labels)), count)
    if not test.card["classes"]:
        return repeated
    classes = len(test.card["classes"])
    strip = np.arange(STRIP_ROWS * STRIP_COLUMNS) % STRIP_COLUMNS % classes
    wanted = np.bincount(test.labels[repeated], minlength=classes)
    rest = np.maximum(wanted - np.bincount(strip, minlength=classes), 0)
    labels = np.concatenate([strip, np.repeat(np.arange(classes), rest)])[:count]
    chosen = np.empty(count, dtype=np.int64)
    for label in range(classes):
        places, members = np.flatnonzero(labels == label), np.flatnonzero(test.labels == label)
        chosen[places] = np.resize(members, len(places))
    return chosen


def alike(labels: Rows, wanted: Rows, seed: int) -> Rows:
    """Numbers of pictures chosen at random, by ``seed``, so that their ``labels`` have the same counts as ``wanted``; all of a
    class that has fewer.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    classes, counts = np.unique(wanted, return_counts=True)
    chosen = [order[labels[order] == label][:count] for label, count in zip(classes, counts, strict=True)]
    return np.sort(np.concatenate(chosen))


def condition(test: ImageArrays, numbers: Rows, description: DiffusionDescription | BaselineDescription) -> Condition:
    """The condition of each of the held-out pictures ``numbers`` ``(N,)``, for the model that is described.

    Class and text, where it takes them, and for a super-resolution model the picture itself, made smaller, without noise.

    Raises:
        UserError: the model reads texts, and the pictures were prepared without.
    """
    labels = test.labels[numbers] if description.classes else np.zeros(len(numbers), dtype=np.int64)
    conditions: Condition = {"labels": torch.from_numpy(labels)}
    if not isinstance(description, DiffusionDescription):
        return conditions
    if description.model.vocabulary:
        if test.texts is None:
            raise UserError(
                "The model reads texts and the prepared pictures have none; name their column in images.text_column and run "
                "`dvc repro prepare@images`."
            )
        conditions["text"] = torch.from_numpy(test.texts[numbers])
    if side := description.model.low_resolution:
        conditions["low_resolution"] = low_resolution(scaled(test.images[numbers]), side)
        conditions["low_resolution_noise"] = torch.zeros(len(numbers))
    return conditions
