"""Training a classifier of texts, from scratch or from a masked language model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stepladder.data.buckets import Buckets, Rows, Sentences, part
from stepladder.data.card import LabelsCard, card_of, longest_of
from stepladder.description import WEIGHTS, brief
from stepladder.description import read as read_description
from stepladder.errors import UserError
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch, Task
from stepladder.transformer.networks.classifier import TextClassifier
from stepladder.transformer.networks.description import (
    MaskedLMDescription,
    TextClassifierDescription,
    TextClassifierNetwork,
)
from stepladder.transformer.networks.trained import SpecialTokens
from stepladder.transformer.training.batches import MULTIPLE, padded
from stepladder.transformer.training.language_task import LanguageTask, choose_rows, share, shared

NOTHING = -1  # the class of a row that counts nothing
SHAPE = ("vocab_size", "d_model", "d_ff", "num_heads", "layers", "max_length", "positions", "kv_heads")


class ClassifierTask(LanguageTask):
    """Learns the class of a text; a batch holds ``text`` ``(B, T)`` and ``wanted`` ``(B,)``, class numbers."""

    description: TextClassifierDescription

    def __init__(self, description: TextClassifierDescription, label_smoothing: float, training: Training) -> None:
        super().__init__(
            TextClassifier(**description.model.model_dump()), description, label_smoothing, training, NOTHING
        )

    def compile_model(self) -> None:
        """Compile all of the network, which gives the scores itself."""
        Task.compile_model(self)

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return _cross_entropy(self.model(batch["text"]), batch["wanted"], smoothing)

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor | int]:
        scores = self.model(batch["text"])
        return _cross_entropy(scores, batch["wanted"], 0.0), (scores.argmax(-1) == batch["wanted"]).sum()

    def _figures(self, loss: Tensor, accuracy: Tensor) -> dict[str, Tensor]:
        return {"loss": loss, "accuracy": accuracy}


def _cross_entropy(scores: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(scores.float(), wanted, reduction="sum", ignore_index=NOTHING, label_smoothing=smoothing)


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training of a classifier that ``params`` describes, on texts with a class prepared in ``data``.

    With ``transformer.base`` it starts from that masked model's encoder.
    """
    section, training, card = params.transformer, params.transformer.training, card_of(data, LabelsCard)
    common = shared(params, data)
    special = common.special
    classes = card["classes"]
    network = TextClassifierNetwork(
        **common.network, layers=section.encoder_layers, max_length=longest_of(card), classes=len(classes)
    )
    description = TextClassifierDescription(
        model=network, data=common.data, classes=classes, max_length=longest_of(card), base=section.base
    )
    task = ClassifierTask(description, section.label_smoothing, training)
    if section.base:
        start_from(task, Path(section.base), data)

    texts, labels = read(data, "train")
    train_rows = choose_rows(len(texts), section.data_share, params.seed)
    lengths = texts.lengths[train_rows] + 2
    buckets = Buckets(lengths, lengths, training.batch_size, params.seed)

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        full = train_rows[buckets.rows(step)]
        rows = part(part(full, micro, training.accumulate), rank, world_size)
        return batch(texts, labels, rows, special, share(len(full), training.accumulate * world_size)) | {"position": k}

    return Experiment(
        task=task,
        draw=draw,
        validation=fixed_batches(data, "validation", special, training.batch_size, rank, world_size),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(buckets.largest() * training.accumulate),
        figures={"padding": buckets.padding(multiple=MULTIPLE)},
    )


def start_from(task: ClassifierTask, folder: Path, data: Path) -> None:
    """Take over the encoder of the masked language model in ``folder``.

    Raises:
        UserError: there is no such model, it is of another shape, or it reads texts by another tokenizer.
    """
    make = "train a masked model with `stepladder train masked-lm`"
    theirs = read_description(folder, MaskedLMDescription, remedy=f"transformer.base names it; {make}").model
    try:
        weights = load_file(folder / WEIGHTS)
        tokenizer = (folder / "tokenizer.json").read_bytes()
    except (OSError, SafetensorError) as error:
        raise UserError(f"transformer.base={folder} cannot be read ({brief(error)}); {make}.") from None
    ours = task.description.model
    if differing := [key for key in SHAPE if getattr(theirs, key) != getattr(ours, key)]:
        key = differing[0]
        raise UserError(
            f"transformer.base={folder} has {key}={getattr(theirs, key)} and this classifier {getattr(ours, key)}; give both the "
            "same transformer parameters, or train the masked model anew."
        )
    if tokenizer != (data / "tokenizer.json").read_bytes():
        raise UserError(
            f"transformer.base={folder} reads texts by another tokenizer than that of {data}; train the masked model anew."
        )
    encoder = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
    cast(TextClassifier, task.model).encoder.load_state_dict(encoder)


def fixed_batches(
    data: Path, split: str, special: SpecialTokens, budget: int, rank: int = 0, world_size: int = 1
) -> list[Batch]:
    """A rank's batches of ``split``, in order of length; every rank has the same number."""
    texts, numbers = read(data, split)
    order = np.argsort(texts.lengths, kind="stable")
    pieces = np.array_split(order, max(1, -(-int(texts.lengths.sum() + 2 * len(order)) // budget)))
    return [batch(texts, numbers, part(rows, rank, world_size), special, 1.0) for rows in pieces]


def batch(texts: Sentences, numbers: Rows, rows: Rows, special: SpecialTokens, tokens: float) -> Batch:
    """``rows`` as a batch whose summed loss is to be divided by ``tokens``; no rows: a batch that is not counted."""
    wanted = numbers[rows] if len(rows) else np.array([NOTHING])
    text = padded(texts, rows if len(rows) else np.zeros(1, dtype=np.int64), special)
    return {"text": torch.from_numpy(text), "wanted": torch.from_numpy(wanted), "tokens": tokens}


def read(data: Path, split: str) -> tuple[Sentences, Rows]:
    """Texts and class numbers of a prepared split."""
    return Sentences.open(data / f"{split}_text"), np.load(data / f"{split}_labels.npy")
