"""Training a language model: which one, and the one that translates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stepladder.data.bpe_dropout import BPEDropout
from stepladder.data.buckets import Buckets, Rows, Sentences, by_length, part
from stepladder.data.card import read_card
from stepladder.params import Params, Training
from stepladder.training.experiment import Batch, Experiment
from stepladder.transformer import causal_lm_task, classifier_task, masked_lm_task
from stepladder.transformer.language_task import MULTIPLE, LanguageTask, asked_for, chosen, share, shared_config
from stepladder.transformer.loss import token_loss
from stepladder.transformer.seq2seq import Seq2Seq
from stepladder.transformer.trained import SpecialTokens, read_tokenizer
from stepladder.transformer.validation_bleu import ValidationBLEU


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training of the language model that ``params`` describes, on text in ``data``; ``timesteps`` is not used."""
    architecture, where = params.transformer.architecture, {"rank": rank, "world_size": world_size}
    if architecture == "encoder_decoder":
        return translation(params, data, **where)
    if architecture == "decoder":
        return causal_lm_task.experiment(params, data, **where)
    if read_card(data).get("task") == "labels":
        return classifier_task.experiment(params, data, **where)
    return masked_lm_task.masked(params, data, params.transformer.training, **where)


class TranslationTask(LanguageTask):
    """Learns to translate; a batch holds ``source`` ``(B, S)``, ``target`` ``(B, T)`` and ``wanted`` ``(B, T)``, one token on.

    With ``stop_on=bleu`` it also translates the validation sentences, greedily.
    """

    def __init__(
        self, config: dict[str, Any], label_smoothing: float, training: Training, bleu: ValidationBLEU | None = None
    ) -> None:
        super().__init__(Seq2Seq(**config["model"]), config, label_smoothing, training, config["model"]["pad"])
        self.bleu = bleu

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return token_loss(self.model, batch["source"], batch["target"], wanted=batch["wanted"], smoothing=smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if self.bleu is not None:
            self.bleu.add(cast(Seq2Seq, self.model), batch["source"], batch["wanted"])

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if self.bleu is not None:
            self.log("validation/bleu", self.bleu.score(self.trainer.strategy, self.device))


@dataclass(frozen=True)
class PairBatches:
    """Makes a rank's batches: tensors of the pairs in ``rows``."""

    source: Sentences
    target: Sentences
    special: SpecialTokens

    def __call__(self, rows: Rows, tokens: float) -> Batch:
        """``rows`` as a batch whose summed loss is to be divided by ``tokens``; no rows: one that counts nothing."""
        empty, pad, bos, eos = not len(rows), self.special.pad, self.special.bos, self.special.eos
        if empty:
            rows = np.zeros(1, dtype=np.int64)
        source = self.source.padded(rows, pad, after=[eos], multiple=MULTIPLE)
        target = self.target.padded(rows, pad, before=[bos], multiple=MULTIPLE)
        wanted = self.target.padded(rows, pad, after=[eos], multiple=MULTIPLE)
        arrays = {"source": source, "target": target, "wanted": np.full_like(wanted, pad) if empty else wanted}
        return {name: torch.from_numpy(array) for name, array in arrays.items()} | {"tokens": tokens}


def translation(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The translation training that ``params`` describes, on pairs prepared in ``data``."""
    asked_for(data, "pairs")
    section, training, card = params.transformer, params.transformer.training, read_card(data)
    config, special = shared_config(params, data)
    config["model"] |= {
        "encoder_layers": section.encoder_layers,
        "decoder_layers": section.decoder_layers,
        "tie_embeddings": section.tie_embeddings,
        "max_length": params.text.max_length + 2,
    }
    config |= {
        "source_language": card["languages"]["source"],
        "target_languages": card["languages"]["targets"],
        "max_length": params.text.max_length,
    }
    tokenizer = read_tokenizer(data / "tokenizer.json")
    bleu = (
        ValidationBLEU(tokenizer, special, card["languages"]["targets"], params.text.max_length)
        if training.stop_on == "bleu"
        else None
    )
    task = TranslationTask(config, section.label_smoothing, training, bleu)

    source, target = read(data, "train", "source"), read(data, "train", "target")
    mine = chosen(len(target), section.data_share, params.seed)
    buckets = Buckets(source.lengths[mine] + 1, target.lengths[mine] + 1, training.batch_size, params.seed)
    sides = [source, target]
    cuts = [
        BPEDropout(tokenizer, side, section.bpe_dropout, params.seed + i, params.text.max_length - 1)
        for i, side in enumerate(sides)
        if section.bpe_dropout
    ]

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        rows, drawn = mine[buckets.rows(step)], sides
        if cuts:  # all ranks cut the whole batch, so as to know how many tokens it has
            rows, drawn = np.arange(len(rows)), [cut.draw(rows, step) for cut in cuts]
        tokens = (drawn[1].offsets[rows + 1] - drawn[1].offsets[rows] + 1).sum()
        own = part(part(rows, micro, training.accumulate), rank, world_size)
        batches = PairBatches(drawn[0], drawn[1], special)
        return batches(own, share(tokens, training.accumulate * world_size)) | {"position": k}

    return Experiment(
        task=task,
        draw=draw,
        validation=fixed_batches(data, "validation", special, training.batch_size, rank, world_size),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(buckets.largest() * training.accumulate),
        figures={"padding": buckets.padding(multiple=MULTIPLE)},
    )


def fixed_batches(
    data: Path, split: str, special: SpecialTokens, budget: int, rank: int = 0, world_size: int = 1
) -> list[Batch]:
    """A rank's batches of ``split``, in order of length; every rank has the same number."""
    batches = PairBatches(read(data, split, "source"), read(data, split, "target"), special)
    order = by_length(batches.source.lengths, batches.target.lengths)
    pieces = np.array_split(order, max(1, -(-int(batches.target.lengths.sum() + len(order)) // budget)))
    return [batches(part(rows, rank, world_size), 1.0) for rows in pieces]


def read(data: Path, split: str, side: str) -> Sentences:
    """Token ids of one side of a prepared split, memory-mapped."""
    return Sentences.open(data / f"{split}_{side}")
