"""Which tokens a masked language model is to find again (Devlin et al. 2019)."""

from __future__ import annotations

import numpy as np

from stepladder.data.buckets import Rows
from stepladder.data.tokenizer import SPECIAL

MASK = SPECIAL.index("<unk>")  # stands in no prepared text, where unknown characters are spelt in bytes
HELD_OUT = 1 << 40  # the stream of randomness of validation masks


def hide(text: Rows, vocab_size: int, pad: int, share: float, *stream: int) -> tuple[Rows, Rows]:
    """``text`` with tokens hidden, and what is wanted where: ``pad`` where nothing is (Devlin et al. 2019, section 3.1).

    A ``share`` of the tokens is wanted. Of these 80% are replaced by ``MASK``, 10% by any token, 10% stay. Special tokens are
    neither wanted nor put in. A pure function of ``stream``.
    """
    random = np.random.default_rng(stream)
    wanted = (random.random(text.shape) < share) & (text >= len(SPECIAL))
    kind, other = random.random(text.shape), random.integers(len(SPECIAL), vocab_size, text.shape)
    shown = np.where(wanted & (kind < 0.8), MASK, np.where(wanted & (kind >= 0.9), other, text))
    return shown, np.where(wanted, text, pad)
