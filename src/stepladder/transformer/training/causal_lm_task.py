"""Training a causal language model on running text."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from stepladder.data.blocks import Blocks, in_order, read
from stepladder.data.buckets import Rows
from stepladder.data.card import LinesCard, card_of
from stepladder.params import Params, Training
from stepladder.tasks.experiment import Experiment
from stepladder.tasks.task import Batch
from stepladder.transformer.networks.causal_lm import CausalLM
from stepladder.transformer.networks.description import CausalLMDescription, CausalLMNetwork
from stepladder.transformer.training.language_task import LanguageTask, rank_batches, share, shared
from stepladder.transformer.training.loss import token_loss


class CausalLMTask(LanguageTask):
    """Learns the next token of running text; a batch holds ``text`` ``(B, T)`` and ``wanted`` ``(B, T)``, shifted by one."""

    dynamic_shapes = False

    def __init__(self, description: CausalLMDescription, label_smoothing: float, training: Training) -> None:
        super().__init__(
            CausalLM(**description.model.model_dump()), description, label_smoothing, training, description.model.pad
        )
        self.tokens_per_character = description.tokens_per_character

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        return token_loss(self.model, batch["text"], wanted=batch["wanted"], smoothing=smoothing)

    def _figures(self, loss: Tensor, accuracy: Tensor) -> dict[str, Tensor]:
        bits = loss * self.tokens_per_character / math.log(2)
        return super()._figures(loss, accuracy) | {"bits_per_character": bits}


def experiment(params: Params, data: Path, *, rank: int = 0, world_size: int = 1) -> Experiment:
    """The training of a causal language model that ``params`` describes, on running text prepared in ``data``."""
    section, training, card = params.transformer, params.transformer.training, card_of(data, LinesCard)
    common = shared(params, data)
    special = common.special
    network = CausalLMNetwork(
        **common.network,
        layers=section.decoder_layers,
        tie_embeddings=section.tie_embeddings,
        max_length=section.context,
    )
    description = CausalLMDescription(
        model=network,
        data=common.data,
        context=section.context,
        tokens_per_character=card["counts"]["validation"] / card["characters"]["validation"],
    )
    size, parts = training.batch_size // section.context, training.accumulate * world_size
    tokens = read(data, "train")
    blocks = Blocks(tokens[: round(section.data_share * len(tokens))], section.context + 1, size, params.seed)

    def draw(k: int) -> Batch:
        step, micro = divmod(k, training.accumulate)
        rows = blocks.batch(step)[micro * world_size + rank :: parts]
        return batch(rows, share(size * section.context, parts)) | {"position": k}

    return Experiment(
        task=CausalLMTask(description, section.label_smoothing, training),
        draw=draw,
        validation=fixed_batches(data, "validation", section.context, size, special.pad, rank, world_size),
        files={"tokenizer.json": data / "tokenizer.json"},
        largest=draw(0),
    )


def fixed_batches(
    data: Path, split: str, context: int, size: int, pad: int, rank: int = 0, world_size: int = 1
) -> list[Batch]:
    """A rank's batches of ``split`` in order: every token but the first is wanted once, after at most ``context`` others."""
    blocks = in_order(read(data, split), context + 1, context, pad)
    return rank_batches(blocks, size, rank, world_size, lambda rows: batch(rows, 1.0), pad)


def batch(rows: Rows, tokens: float) -> Batch:
    """Blocks ``(B, T + 1)`` as a batch whose summed loss is to be divided by ``tokens``."""
    blocks = torch.from_numpy(rows)
    return {"text": blocks[:, :-1], "wanted": blocks[:, 1:], "tokens": tokens}
