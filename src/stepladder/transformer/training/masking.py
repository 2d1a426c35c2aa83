"""Which tokens a masked language model has to predict (Devlin et al. 2019)."""

from __future__ import annotations

import numpy as np

from stepladder.data.buckets import Rows
from stepladder.data.tokenizer import SPECIAL

MASK = SPECIAL.index("<unk>")  # stands in no prepared text, where unknown characters are spelt in bytes
HELD_OUT = 1 << 40  # the stream of randomness of validation masks


def hide(text: Rows, vocab_size: int, pad: int, share: float, *stream: int) -> tuple[Rows, Rows]:
    """``text`` with tokens masked, and the tokens to predict, ``pad`` where there is none (Devlin et al. 2019, section 3.1).

    A ``share`` of the tokens is to be predicted. Of these 80% are replaced by ``MASK``, 10% by any token, 10% stay. Special
    tokens are neither predicted nor put in. A pure function of ``stream``.
    """
    random = np.random.default_rng(stream)
    wanted = (random.random(text.shape) < share) & (text >= len(SPECIAL))
    choice, random_tokens = random.random(text.shape), random.integers(len(SPECIAL), vocab_size, text.shape)
    masked = np.where(wanted & (choice < 0.8), MASK, np.where(wanted & (choice >= 0.9), random_tokens, text))
    return masked, np.where(wanted, text, pad)
