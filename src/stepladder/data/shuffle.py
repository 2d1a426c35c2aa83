"""The order of the examples: a pure function of (seed, epoch)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Shuffle:
    """``examples`` rows in a new order each epoch, in batches of ``size`` that run on across epochs."""

    def __init__(self, examples: int, size: int, seed: int) -> None:
        self.examples, self.size, self.seed = examples, size, seed
        self._epoch = lru_cache(maxsize=2)(self._order)

    def rows(self, k: int) -> Rows:
        """Rows of the ``k``-th batch, k = 0, 1, 2, ... without end; ``(size,)``."""
        numbers = np.arange(k * self.size, (k + 1) * self.size)
        epochs = numbers // self.examples
        return np.concatenate(
            [self._epoch(int(e))[numbers[epochs == e] - e * self.examples] for e in np.unique(epochs)]
        )

    def all(self, examples: int) -> Rows:
        """Every row of another set of ``examples``, once, in a fixed random order."""
        return np.random.default_rng((self.seed, 0)).permutation(examples)

    def _order(self, epoch: int) -> Rows:
        return np.random.default_rng((self.seed, 1, epoch)).permutation(self.examples)
