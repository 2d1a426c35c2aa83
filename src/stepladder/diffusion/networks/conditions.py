"""What a picture is asked to show: a dictionary of tensors, one row a picture.

``labels`` ``(N,)``: class numbers, the number of classes itself for none (zeros where a model has no classes). Further
keys where a model knows them: ``text`` ``(N, L)`` token numbers, 0 for padding, a row of padding for no text;
``low_resolution`` ``(N, C, h, w)`` in [-1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

Condition = dict[str, Tensor]


def hide(condition: Condition, hidden: Tensor, classes: int) -> Condition:
    """``condition`` with class and text taken from the rows where ``hidden`` ``(N,)`` is true: classifier-free guidance."""
    changed = condition | {"labels": torch.where(hidden, classes, condition["labels"])}
    if "text" in condition:
        changed["text"] = torch.where(hidden[:, None], 0, condition["text"])
    return changed


def nothing(condition: Condition, classes: int) -> Condition:
    """``condition`` without class and text."""
    return hide(condition, torch.ones_like(condition["labels"], dtype=torch.bool), classes)


def doubled(first: Condition, second: Condition) -> Condition:
    """The rows of both, one after the other."""
    return {key: torch.cat([first[key], second[key]]) for key in first}


def rows(condition: Condition, start: int, stop: int) -> Condition:
    """Rows ``start`` to ``stop``."""
    return {key: value[start:stop] for key, value in condition.items()}
