"""How well a masked language model predicts hidden tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder import history
from stepladder.data import splits
from stepladder.data.blocks import in_order
from stepladder.data.blocks import read as read_running
from stepladder.data.buckets import Sentences
from stepladder.data.card import read_card
from stepladder.evaluation.text import encoding, files, pictures
from stepladder.evaluation.text.measure import Floats, Score, scored
from stepladder.judgement import identity
from stepladder.metrics.texts import TextMetrics
from stepladder.params import Params
from stepladder.text_tasks.tasks import FORMS, name_of
from stepladder.transformer.networks.description import MaskedLMDescription
from stepladder.transformer.networks.masked_lm import MaskedLM
from stepladder.transformer.networks.trained import SpecialTokens, load
from stepladder.transformer.training.batches import padded
from stepladder.transformer.training.masking import HELD_OUT, hide

BATCH = 64  # rows


def evaluate(params: Params, data: Path, model_folder: Path, out: Path) -> TextMetrics:
    """Judge the masked language model in ``model_folder`` on the held-out text of ``data``; write it to ``out``.

    Files: ``metrics.json``; ``attention.json``. ``accuracy`` (of hidden tokens), ``loss`` (nats a hidden token) and ``perplexity`` have
    intervals over rows.
    """
    model, tokenizer, description = load(model_folder, MaskedLMDescription)
    section, share, card = params.evaluation, description.mask_share, read_card(data)
    special, vocab_size = SpecialTokens.of(tokenizer), description.model.vocab_size
    running = FORMS[name_of(card)].running
    trained_on = np.load(data / "train.npy") if running else Sentences.open(data / "train_text").tokens
    unigram_nats = encoding.unigram(trained_on, vocab_size)
    by_split: dict[str, TextMetrics] = {}
    for split in ["test", *splits.further(card["counts"])]:
        text = _rows(data, split, running, description.context, special)
        inputs, targets = (
            torch.from_numpy(a) for a in hide(text, vocab_size, special.pad, share, params.seed, HELD_OUT + 1)
        )
        statistics = by_row(model, inputs, targets, special.pad)
        by_split[split] = {
            **scored(measures(statistics), count=section.bootstrap, confidence=section.confidence, seed=params.seed),
            "hidden": int(statistics[:, 2].sum()),
            "unigram_loss": float(unigram_nats[targets[targets != special.pad].numpy()].mean()),
        }
    protocol = {
        "hidden": f"{share:g} of the tokens, of which 80% are masked, 10% another token, 10% as they are; seed {params.seed}"
    }
    metrics: TextMetrics = {"task": description.task, **by_split.pop("test"), "splits": by_split, "protocol": protocol}
    metrics["judged"] = identity.judged(params, model_folder, data)
    out.mkdir(parents=True, exist_ok=True)
    history.write(out / "metrics.json", metrics)
    rows = _rows(data, "test", running, description.context, special)[: pictures.MEASURED]
    readings = [[[int(i) for i in row if i != special.pad]] for row in rows]
    plotted = [readings[0][0][: 2 * pictures.SHOWN]]
    files.write_json(
        out / "attention.json",
        pictures.described(model, tokenizer, plotted, readings) | {"positions": pictures.positions(model)},
    )
    return metrics


@torch.inference_mode()
def by_row(model: MaskedLM, inputs: Tensor, targets: Tensor, pad: int) -> Floats:
    """Nats, hits and number of the hidden tokens of each row of ``inputs`` ``(N, T)``: ``(N, 3)``."""
    result = np.zeros((len(inputs), 3))
    for start in range(0, len(inputs), BATCH):
        rows = slice(start, start + BATCH)
        scores, target = model(inputs[rows]).float(), targets[rows]
        hidden = target != pad
        nats = F.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="none").view_as(target) * hidden
        hits = (scores.argmax(-1) == target) & hidden
        result[rows] = torch.stack([nats.sum(1), hits.sum(1), hidden.sum(1)], dim=1).double().numpy()
    return result


def measures(statistics: Floats) -> list[Score]:
    """The scores, from what ``by_row`` returns."""

    def loss(total: Floats) -> float:
        return float(total[0] / max(total[2], 1))

    return [
        Score("accuracy", statistics, lambda total: float(total[1] / max(total[2], 1))),
        Score("loss", statistics, loss),
        Score("perplexity", statistics, lambda total: math.exp(min(loss(total), 700.0))),
    ]


def _rows(data: Path, split: str, running: bool, context: int, special: SpecialTokens) -> Any:
    """Held-out text as the model reads it: blocks of running text, or single texts."""
    if running:
        return in_order(read_running(data, split), context, context, special.pad)
    texts = Sentences.open(data / f"{split}_text")
    return padded(texts, np.arange(len(texts)), special)
