"""The key-value cache of a decoder: what attention needs of the positions already decoded, and of the memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 16


class Cache:
    """Keys and values of every layer that decodes, a row a hypothesis; of encoder-decoder and of decoder-only models.

    Attributes:
        cross: a layer's keys and values of the memory, ``(B, G, S, d_head)``, which the hypotheses of a sentence share;
            empty where there is no encoder.
        memory_mask: ``(B, 1, 1, S)``, added to the scores: minus infinity at padding; None where nothing is padding.
        length: positions decoded so far, ``t``.

    Args:
        layers, heads, d_head: of the keys and values.
        rows: hypotheses of all sentences, ``B * K``, those of a sentence side by side.
        like: a tensor of the wanted device and type.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        heads: int,
        d_head: int,
        like: Tensor,
        cross: Sequence[tuple[Tensor, Tensor]] = (),
        memory_mask: Tensor | None = None,
    ) -> None:
        self.cross, self.memory_mask, self.length = list(cross), memory_mask, 0
        # positions first, and a hypothesis' keys and values of all layers next to each other: reordering moves large blocks
        self._kv = like.new_empty(CHUNK, rows, 2 * layers, heads, d_head)
        self._spare = torch.empty_like(self._kv)

    def put(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put in ``layer``'s keys and values of the next ``n`` positions, ``(R, G, n, d_head)``.

        Returns those of all positions so far, ``(R, G, t + n, d_head)``. Call ``advance`` when all layers have done so.
        """
        end = self.length + key.shape[2]
        if end > len(self._kv):
            more = -(-(end - len(self._kv)) // CHUNK) * CHUNK
            self._kv = torch.cat([self._kv, self._kv.new_empty(max(more, len(self._kv)), *self._kv.shape[1:])])
            self._spare = torch.empty_like(self._kv)
        self._kv[self.length : end, :, 2 * layer] = key.permute(2, 0, 1, 3)
        self._kv[self.length : end, :, 2 * layer + 1] = value.permute(2, 0, 1, 3)
        keys, values = self._kv[:end, :, 2 * layer], self._kv[:end, :, 2 * layer + 1]
        return keys.permute(1, 2, 0, 3), values.permute(1, 2, 0, 3)

    def advance(self, positions: int = 1) -> None:
        """Go on to the next position, once every layer has put in the present ones."""
        self.length += positions

    def reorder(self, hypotheses: Tensor) -> None:
        """Row ``i`` becomes what row ``hypotheses[i]`` was; rows are ``sentence * K + beam``."""
        if len(hypotheses) != self._spare.shape[1]:
            self._spare = self._kv.new_empty((len(self._kv), len(hypotheses), *self._kv.shape[2:]))
        torch.index_select(self._kv[: self.length], 1, hypotheses, out=self._spare[: self.length])
        self._kv, self._spare = self._spare, self._kv

    def keep(self, sentences: Tensor) -> None:
        """Only ``sentences`` stay; their hypotheses are chosen by ``reorder``."""
        self.cross = [(key.index_select(0, sentences), value.index_select(0, sentences)) for key, value in self.cross]
        if self.memory_mask is not None:
            self.memory_mask = self.memory_mask.index_select(0, sentences)
