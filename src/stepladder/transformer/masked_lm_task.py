"""Training a masked language model, on running text or on the texts of labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stepladder.data.blocks import Blocks, in_order
from stepladder.data.blocks import read as read_running
from stepladder.data.buckets import Buckets, Rows, Sentences
from stepladder.data.tokenizer import SPECIAL
from stepladder.params import Params, Training
from stepladder.training.experiment import Batch, Experiment
from stepladder.transformer.language_task import (
    MULTIPLE,
    LanguageTask,
    asked_for,
    blocks_a_batch,
    chosen,
    deal,
    share,
    shared_config,
)  # fmt: skip
from stepladder.transformer.loss import token_loss
from stepladder.transformer.masked_lm import MaskedLM
from stepladder.transformer.trained import SpecialTokens

MASK = SPECIAL.index("<unk>")  # stands in no prepared text, where unknown characters are spelt in bytes
HELD_OUT = 1 << 40  # the stream of randomness of validation masks


class MaskedLMTask(LanguageTask):
    """Learns to find hidden tokens again; a batch holds ``text`` ``(B, T)`` and ``wanted`` ``(B, T)``, padding where not hidden."""

    def __init__(self, config: dict[str, Any], label_smoothing: float, training: Training) -> None:
        super().__init__(MaskedLM(**config["model"]), config, label_smoothing, training, config["model"]["pad"])

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return token_loss(self.model, batch["text"], wanted=batch["wanted"], smoothing=smoothing)


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


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The pre-training on the texts in ``data`` before a classification (``params.classification``); ``timesteps`` is not used."""
    return masked(params, data, params.classification.pretraining, rank, world_size)


def masked(params: Params, data: Path, training: Training, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training of a masked language model that ``params`` describes, on running text or texts prepared in ``data``."""
    asked_for(data, "lines", "labels")
    section = params.transformer
    config, special = shared_config(params, data)
    running = config["task"] == "lines"
    longest = section.context if running else params.text.max_length
    config["model"] |= {"layers": section.encoder_layers, "max_length": longest}
    config |= {"task": "masked_lm", "context": longest}
    vocab_size, parts = config["model"]["vocab_size"], training.accumulate * world_size

    if running:
        size = blocks_a_batch(training, longest, world_size)
        tokens = read_running(data, "train")
        blocks = Blocks(tokens[: round(section.data_share * len(tokens))], longest, size, params.seed)
        rows, largest, figures = blocks.batch, 0, {}
        held = in_order(read_running(data, "validation"), longest, longest, special.pad)
    else:
        texts = Sentences.open(data / "train_text")
        mine = chosen(len(texts), section.data_share, params.seed)
        lengths = texts.lengths[mine] + 2
        buckets = Buckets(lengths, lengths, training.batch_size, params.seed)

        def rows(k: int) -> Rows:
            return padded(texts, mine[buckets.rows(k)], special)

        largest, figures = buckets.largest(), {"padding": buckets.padding(multiple=MULTIPLE)}
        held_texts = Sentences.open(data / "validation_text")
        held, size = padded(held_texts, np.argsort(held_texts.lengths, kind="stable"), special), 64

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        text, wanted = hide(rows(step), vocab_size, special.pad, section.mask_share, params.seed, step)
        part = slice(micro * world_size + rank, None, parts)
        return batch(text[part], wanted[part], share((wanted != special.pad).sum(), parts), special.pad) | {
            "position": k
        }

    shown, hidden = hide(held, vocab_size, special.pad, section.mask_share, params.seed, HELD_OUT)

    def held_out(rows: Rows) -> Batch:
        return batch(rows[:, 0], rows[:, 1], 1.0, special.pad)

    return Experiment(
        task=MaskedLMTask(config, section.label_smoothing, training),
        draw=draw,
        validation=deal(np.stack([shown, hidden], 1), size, rank, world_size, held_out, special.pad),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(largest * training.accumulate),
        figures=figures,
    )


def padded(texts: Sentences, rows: Rows, special: SpecialTokens) -> Rows:
    """Texts as a model reads them: beginning, tokens, end, padding."""
    return texts.padded(rows, special.pad, before=[special.bos], after=[special.eos], multiple=MULTIPLE)


def batch(text: Rows, wanted: Rows, tokens: float, pad: int) -> Batch:
    """Rows as a batch whose summed loss is to be divided by ``tokens``; no rows: one that counts nothing."""
    if not len(text):
        text, wanted = np.full((1, 1), MASK), np.full((1, 1), pad)
    return {
        "text": torch.from_numpy(np.ascontiguousarray(text)),
        "wanted": torch.from_numpy(np.ascontiguousarray(wanted)),
    } | {"tokens": tokens}
