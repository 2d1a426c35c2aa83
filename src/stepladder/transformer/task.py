"""Training a translation model, and using a trained one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from stepladder.data.buckets import Buckets, Rows, Sentences, by_length, part
from stepladder.data.card import read_card
from stepladder.params import Params, Training
from stepladder.training.experiment import Batch, Experiment
from stepladder.training.optim import configure
from stepladder.transformer.loss import token_loss
from stepladder.transformer.seq2seq import Seq2Seq
from stepladder.transformer.trained import SpecialTokens, read_tokenizer


class TranslationTask(pl.LightningModule):
    """Learns to translate: label-smoothed cross entropy a target token.

    A batch holds ``source`` ``(B, S)``, ``target`` ``(B, T)``, ``wanted`` ``(B, T)`` (the target one step on), and
    ``tokens``, by which the sum of losses is divided (see ``PairBatches``).
    """

    def __init__(self, config: dict[str, Any], label_smoothing: float, training: Training) -> None:
        super().__init__()
        self.config, self.label_smoothing, self.training_section = config, label_smoothing, training
        self.model = Seq2Seq(**config["model"])
        self._sums: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self._loss(batch, self.label_smoothing) / batch["tokens"]
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._sums.append(torch.stack([self._loss(batch, 0.0), (batch["wanted"] != self.model.pad).sum()]))

    def on_validation_epoch_end(self) -> None:
        total = self.trainer.strategy.reduce(torch.stack(self._sums).sum(0), reduce_op="sum")
        assert isinstance(total, Tensor)
        self._sums.clear()
        loss = total[0] / total[1].clamp(min=1)
        self.log_dict({"validation/loss": loss, "validation/perplexity": loss.exp()})

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.training_section)

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return token_loss(self.model, batch["source"], batch["target"], wanted=batch["wanted"], smoothing=smoothing)


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
        source = self.source.padded(rows, pad, after=[eos])
        target = self.target.padded(rows, pad, before=[bos], after=[eos])
        wanted = np.full_like(target[:, 1:], pad) if empty else target[:, 1:]
        arrays = {"source": source, "target": target[:, :-1], "wanted": wanted}
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()} | {"tokens": tokens}


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The translation training that ``params`` describes, on text prepared in ``data``; ``timesteps`` is not used."""
    section, training = params.transformer, params.transformer.training
    tokenizer, card = read_tokenizer(data / "tokenizer.json"), read_card(data)
    special = SpecialTokens.of(tokenizer)
    config = {
        "model": {
            "vocab_size": tokenizer.get_vocab_size(),
            "d_model": section.d_model,
            "d_ff": section.d_ff,
            "num_heads": section.num_heads,
            "encoder_layers": section.encoder_layers,
            "decoder_layers": section.decoder_layers,
            "dropout": section.dropout,
            "tie_embeddings": section.tie_embeddings,
            "pad": special.pad,
            "max_length": params.text.max_length + 2,
            **section.mechanisms(),
        },
        "source_language": card["languages"]["source"],
        "target_languages": card["languages"]["targets"],
        "max_length": params.text.max_length,
        "data": {key: card[key] for key in ("source", "content_hash")},
    }
    task = TranslationTask(config, section.label_smoothing, training)

    batches = PairBatches(read(data, "train", "source"), read(data, "train", "target"), special)
    lengths = batches.target.lengths + 1
    buckets = Buckets(batches.source.lengths + 1, lengths, training.batch_size, params.seed)

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        rows = buckets.rows(step)
        # Lightning divides by the micro-batches, and gradients are averaged over the ranks
        tokens = max(float(lengths[rows].sum()), 1.0) / (training.accumulate * world_size)
        mine = part(part(rows, micro, training.accumulate), rank, world_size)
        return batches(mine, tokens) | {"position": k}

    return Experiment(
        task=task,
        draw=draw,
        validation=fixed_batches(data, "validation", special, training.batch_size, rank, world_size),
        files={"tokenizer.json": data / "tokenizer.json"},
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
    stem = data / f"{split}_{side}"
    return Sentences(np.load(f"{stem}.npy", mmap_mode="r"), np.load(f"{stem}_offsets.npy"))
