"""The condition of each picture to be generated: a dictionary of tensors, one row a picture.

``labels`` ``(N,)``: class numbers, the number of classes itself for no class (all zeros of a model without classes).
Further keys where a model uses them: ``text`` ``(N, L)`` token numbers, 0 for padding, a row of padding for no text;
``low_resolution`` ``(N, C, h, w)`` in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

Condition = dict[str, Tensor]


def drop(condition: Condition, dropped: Tensor, classes: int) -> Condition:
    """``condition`` without class and text where ``dropped`` ``(N,)`` is true: for classifier-free guidance."""
    changed = condition | {"labels": torch.where(dropped, classes, condition["labels"])}
    if "text" in condition:
        changed["text"] = torch.where(dropped[:, None], 0, condition["text"])
    return changed


def unconditional(condition: Condition, classes: int) -> Condition:
    """``condition`` without class and text."""
    return drop(condition, torch.ones_like(condition["labels"], dtype=torch.bool), classes)


def concatenated(first: Condition, second: Condition) -> Condition:
    """The rows of ``first``, then those of ``second``."""
    return {key: torch.cat([first[key], second[key]]) for key in first}


def select_rows(condition: Condition, start: int, stop: int) -> Condition:
    """Rows ``start`` to ``stop``."""
    return {key: value[start:stop] for key, value in condition.items()}
