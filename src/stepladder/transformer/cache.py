"""The key-value cache of a decoder: what attention needs of the positions already decoded, and of the memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK = 16


class Cache:
    """Keys and values of every decoder layer, for ``B`` sentences with ``K`` hypotheses each.

    Attributes:
        cross: a layer's keys and values of the memory, ``(B, H, S, d_head)``; hypotheses of a sentence share them.
        memory_mask: ``(B, 1, 1, S)``, or None where nothing is padding.
        length: positions decoded so far, ``t``.
    """

    def __init__(self, cross: list[tuple[Tensor, Tensor]], memory_mask: Tensor | None, beams: int = 1) -> None:
        self.cross, self.memory_mask, self.length = cross, memory_mask, 0
        batch, heads, _, d_head = cross[0][0].shape
        # positions first, and a hypothesis' keys and values of all layers side by side: reordering moves whole blocks
        shape = (CHUNK, batch * beams, 2 * len(cross), heads, d_head)
        self._own = cross[0][0].new_empty(shape)
        self._spare = torch.empty_like(self._own)

    def remember(self, layer: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function that takes ``layer``'s key and value of the present position, ``(B * K, H, 1, d_head)``.

        It returns those of all positions up to the present one, ``(B * K, H, t + 1, d_head)``.
        """

        def put(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            end = self.length + 1
            self._own[self.length, :, 2 * layer] = key[:, :, 0]
            self._own[self.length, :, 2 * layer + 1] = value[:, :, 0]
            keys, values = self._own[:end, :, 2 * layer], self._own[:end, :, 2 * layer + 1]
            return keys.permute(1, 2, 0, 3), values.permute(1, 2, 0, 3)

        return put

    def advance(self) -> None:
        """Go on to the next position, once every layer has put in the present one."""
        self.length += 1
        if self.length == len(self._own):
            self._own = torch.cat([self._own, torch.empty_like(self._own)])
            self._spare = torch.empty_like(self._own)

    def reorder(self, hypotheses: Tensor) -> None:
        """Row ``i`` becomes what row ``hypotheses[i]`` was; rows are ``sentence * K + beam``."""
        if len(hypotheses) != self._spare.shape[1]:
            self._spare = self._own.new_empty((len(self._own), len(hypotheses), *self._own.shape[2:]))
        torch.index_select(self._own[: self.length], 1, hypotheses, out=self._spare[: self.length])
        self._own, self._spare = self._spare, self._own

    def keep(self, sentences: Tensor) -> None:
        """Only ``sentences`` stay; their hypotheses are chosen by ``reorder``."""
        self.cross = [(key.index_select(0, sentences), value.index_select(0, sentences)) for key, value in self.cross]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask.index_select(0, sentences)
