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
        shape = (2 * len(cross), batch * beams, heads, CHUNK, d_head)
        self._own = torch.empty(shape, dtype=cross[0][0].dtype, device=cross[0][0].device)

    def remember(self, layer: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """A function that takes ``layer``'s key and value of the present position, ``(B * K, H, 1, d_head)``.

        It returns those of all positions up to the present one, ``(B * K, H, t + 1, d_head)``.
        """

        def put(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
            own, end = self._own[2 * layer : 2 * layer + 2], self.length + 1
            own[0, :, :, self.length], own[1, :, :, self.length] = key[:, :, 0], value[:, :, 0]
            return own[0, :, :, :end], own[1, :, :, :end]

        return put

    def advance(self) -> None:
        """Go on to the next position, once every layer has put in the present one."""
        self.length += 1
        if self.length == self._own.shape[3]:
            self._own = torch.cat([self._own, torch.empty_like(self._own)], dim=3)

    def reorder(self, hypotheses: Tensor) -> None:
        """Row ``i`` becomes what row ``hypotheses[i]`` was; rows are ``sentence * K + beam``."""
        kept = self._own[:, :, :, : self.length].index_select(1, hypotheses)
        if len(hypotheses) != self._own.shape[1]:
            self._own = self._own.new_empty((len(self._own), len(hypotheses), *self._own.shape[2:]))
        self._own[:, :, :, : self.length] = kept

    def keep(self, sentences: Tensor) -> None:
        """Only ``sentences`` stay; their hypotheses are chosen by ``reorder``."""
        self.cross = [(key.index_select(0, sentences), value.index_select(0, sentences)) for key, value in self.cross]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask.index_select(0, sentences)
