"""Training a masked language model, on running text or on the texts of labelled data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stepladder.data.blocks import Blocks, in_order
from stepladder.data.blocks import read as read_running
from stepladder.data.buckets import Buckets, Rows, Sentences
from stepladder.data.card import TextCard, card_of, longest_of
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch
from stepladder.text_tasks.tasks import FORMS, name_of
from stepladder.transformer.networks.description import MaskedLMDescription, MaskedLMNetwork
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.training.batches import MULTIPLE, padded
from stepladder.transformer.training.language_task import LanguageTask, choose_rows, rank_batches, share, shared
from stepladder.transformer.training.loss import token_loss
from stepladder.transformer.training.masking import HELD_OUT, MASK, hide


class MaskedLMTask(LanguageTask):
    """Predicts masked tokens; a batch holds ``text`` ``(B, T)`` and ``wanted`` ``(B, T)``, padding where not masked."""

    def __init__(self, description: MaskedLMDescription, label_smoothing: float, training: Training) -> None:
        super().__init__(
            MaskedLM(**description.model.model_dump()), description, label_smoothing, training, description.model.pad
        )

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return token_loss(self.model, batch["text"], wanted=batch["wanted"], smoothing=smoothing)


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training of a masked language model as ``params.transformer`` describes it, on the text prepared in ``data``."""
    return masked_experiment(params, data, params.transformer.training, rank, world_size)


def masked_experiment(params: Params, data: Path, training: Training, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training of a masked language model that ``params`` describe, on running text or texts prepared in ``data``."""
    section = params.transformer
    common = shared(params, data)
    special = common.special
    card = card_of(data, TextCard)
    running = FORMS[name_of(card)].running
    longest = section.context if running else longest_of(card)
    network = MaskedLMNetwork(**common.network, layers=section.encoder_layers, max_length=longest)
    description = MaskedLMDescription(model=network, data=common.data, context=longest, mask_share=section.mask_share)
    vocab_size, parts = description.model.vocab_size, training.accumulate * world_size

    if running:
        size = training.batch_size // longest
        tokens = read_running(data, "train")
        blocks = Blocks(tokens[: round(section.data_share * len(tokens))], longest, size, params.seed)
        rows, largest, figures = blocks.batch, 0, {}
        held = in_order(read_running(data, "validation"), longest, longest, special.pad)
    else:
        texts = Sentences.open(data / "train_text")
        train_rows = choose_rows(len(texts), section.data_share, params.seed)
        lengths = texts.lengths[train_rows] + 2
        buckets = Buckets(lengths, lengths, training.batch_size, params.seed)

        def rows(k: int) -> Rows:
            return padded(texts, train_rows[buckets.rows(k)], special)

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

    masked_text, masked_tokens = hide(held, vocab_size, special.pad, section.mask_share, params.seed, HELD_OUT)

    def held_out(rows: Rows) -> Batch:
        return batch(rows[:, 0], rows[:, 1], 1.0, special.pad)

    return Experiment(
        task=MaskedLMTask(description, section.label_smoothing, training),
        draw=draw,
        validation=rank_batches(
            np.stack([masked_text, masked_tokens], 1), size, rank, world_size, held_out, special.pad
        ),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(largest * training.accumulate),
        figures=figures,
    )


def batch(text: Rows, wanted: Rows, tokens: float, pad: int) -> Batch:
    """Rows as a batch whose summed loss is to be divided by ``tokens``; no rows: a batch that is not counted."""
    if not len(text):
        text, wanted = np.full((1, 1), MASK), np.full((1, 1), pad)
    return {
        "text": torch.from_numpy(np.ascontiguousarray(text)),
        "wanted": torch.from_numpy(np.ascontiguousarray(wanted)),
    } | {"tokens": tokens}
