"""Training a model that translates."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from torch import Tensor

from stepladder.data.bpe_dropout import BPEDropout
from stepladder.data.buckets import Buckets, part
from stepladder.data.card import PairsCard, card_of, longest_of
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch
from stepladder.transformer.networks.description import Seq2SeqNetwork, TranslationDescription
from stepladder.transformer.networks.seq2seq import Seq2Seq
from stepladder.transformer.networks.trained import read_tokenizer
from stepladder.transformer.training.batches import MULTIPLE, PairBatches, fixed_batches, read
from stepladder.transformer.training.language_task import LanguageTask, choose_rows, share, shared
from stepladder.transformer.training.loss import token_loss
from stepladder.transformer.training.validation_bleu import ValidationBLEU


class TranslationTask(LanguageTask):
    """Translates; a batch holds ``source`` ``(B, S)``, ``target`` ``(B, T)`` and ``wanted`` ``(B, T)``, shifted by 1.

    With ``stop_on=bleu`` it also translates the validation sentences, greedily.
    """

    def __init__(
        self,
        description: TranslationDescription,
        label_smoothing: float,
        training: Training,
        bleu: ValidationBLEU | None = None,
    ) -> None:
        super().__init__(
            Seq2Seq(**description.model.model_dump()), description, label_smoothing, training, description.model.pad
        )
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


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The translation training that ``params`` describes, on pairs prepared in ``data``."""
    section, training, card = params.transformer, params.transformer.training, card_of(data, PairsCard)
    longest = longest_of(card)
    common = shared(params, data)
    special = common.special
    network = Seq2SeqNetwork(
        **common.network,
        encoder_layers=section.encoder_layers,
        decoder_layers=section.decoder_layers,
        tie_embeddings=section.tie_embeddings,
        max_length=longest + 2,
    )
    description = TranslationDescription(
        model=network,
        data=common.data,
        source_language=card["languages"]["source"],
        target_languages=card["languages"]["targets"],
        max_length=longest,
    )
    tokenizer = read_tokenizer(data / "tokenizer.json")
    bleu = (
        ValidationBLEU(tokenizer, special, card["languages"]["targets"], longest)
        if training.stop_on == "bleu"
        else None
    )
    task = TranslationTask(description, section.label_smoothing, training, bleu)

    source, target = read(data, "train", "source"), read(data, "train", "target")
    train_rows = choose_rows(len(target), section.data_share, params.seed)
    buckets = Buckets(source.lengths[train_rows] + 1, target.lengths[train_rows] + 1, training.batch_size, params.seed)
    sides = [source, target]
    dropouts = [
        BPEDropout(tokenizer, side, section.bpe_dropout, params.seed + i, longest - 1)
        for i, side in enumerate(sides)
        if section.bpe_dropout
    ]

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        rows, segmented = train_rows[buckets.rows(step)], sides
        if dropouts:  # all ranks cut the full batch, to know how many tokens it has
            rows, segmented = np.arange(len(rows)), [dropout.draw(rows, step) for dropout in dropouts]
        tokens = (segmented[1].offsets[rows + 1] - segmented[1].offsets[rows] + 1).sum()
        local = part(part(rows, micro, training.accumulate), rank, world_size)
        batches = PairBatches(segmented[0], segmented[1], special)
        return batches(local, share(tokens, training.accumulate * world_size)) | {"position": k}

    return Experiment(
        task=task,
        draw=draw,
        validation=fixed_batches(data, "validation", special, training.batch_size, rank, world_size),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(buckets.largest() * training.accumulate),
        figures={"padding": buckets.padding(multiple=MULTIPLE)},
    )
