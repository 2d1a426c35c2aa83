"""What the trainings of all language models have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stepladder.data.buckets import Rows
from stepladder.data.card import read_card
from stepladder.description import Data
from stepladder.params import Params, Training
from stepladder.tasks.optim import configure
from stepladder.tasks.task import Batch, Task
from stepladder.transformer.networks.description import TextDescription
from stepladder.transformer.networks.trained import SpecialTokens, read_tokenizer


class LanguageTask(Task):
    """Learns a token or a class at each place that is wanted.

    A batch holds what ``_loss`` reads, ``wanted`` (``nothing`` where no token is wanted), ``tokens``, the number that the sum of
    losses is divided by (see ``share``), and ``position``.

    Attributes:
        nothing: what stands in ``wanted`` where nothing is.
    """

    layer_gradients = True
    dynamic_shapes = True  # batches have many

    def __init__(
        self, model: nn.Module, description: TextDescription, label_smoothing: float, training: Training, nothing: int
    ) -> None:
        super().__init__()
        self.model, self.description, self.nothing = model, description, nothing
        self.label_smoothing, self.training_section = label_smoothing, training
        self._sums: list[Tensor] = []

    def compile_model(self) -> None:
        """Compile the network up to the scores, which are computed with the loss."""
        model: Any = self.model
        model.hidden = torch.compile(model.hidden, dynamic=self.dynamic_shapes)

    def _loss(self, batch: Batch, smoothing: float) -> Tensor:
        """The sum of losses, in nats."""
        raise NotImplementedError

    def _judged(self, batch: Batch) -> tuple[Tensor, Tensor | int]:
        """The sum of losses without smoothing, and how many answers are right, where a task counts them."""
        return self._loss(batch, 0.0), 0

    def loss(self, batch: Batch) -> Tensor:
        """This micro-batch's share of the mean loss per token of the full batch."""
        loss: Tensor = self._loss(batch, self.label_smoothing) / batch["tokens"]
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        counted = (batch["wanted"] != self.nothing).sum()
        loss, right = self._judged(batch)
        self._sums.append(torch.stack([loss, counted, counted * 0 + right]))

    def on_validation_epoch_end(self) -> None:
        total = self.trainer.strategy.reduce(torch.stack(self._sums).sum(0), reduce_op="sum")
        assert isinstance(total, Tensor)
        self._sums.clear()
        loss, accuracy = total[0] / total[1].clamp(min=1), total[2] / total[1].clamp(min=1)
        self.log_dict({f"validation/{name}": value for name, value in self._figures(loss, accuracy).items()})

    def _figures(self, loss: Tensor, accuracy: Tensor) -> dict[str, Tensor]:
        """What the journal gets of a validation: the mean loss, in nats, and the share of right answers."""
        return {"loss": loss, "perplexity": loss.exp()}

    def configure_optimizers(self) -> Any:
        return configure(self.model, self.training_section)


def share(tokens: float, parts: int) -> float:
    """What a part's sum of losses is divided by, where a batch of ``tokens`` wanted tokens is split in ``parts``.

    Lightning divides by the micro-batches, and gradients are averaged over the ranks: the gradient is that of the mean over
    all the tokens, however many each part has.
    """
    return max(float(tokens), 1.0) / parts


@dataclass(frozen=True)
class Shared:
    """What every language model's training begins with.

    Attributes:
        network: arguments that the networks have in common.
        data: what was learned from.
    """

    special: SpecialTokens
    network: dict[str, Any]
    data: Data


def shared(params: Params, data: Path) -> Shared:
    """The special tokens of the text prepared in ``data``, and what every model's description says, by ``params``."""
    section = params.transformer
    tokenizer, card = read_tokenizer(data / "tokenizer.json"), read_card(data)
    special = SpecialTokens.of(tokenizer)
    network = {
        "vocab_size": tokenizer.get_vocab_size(),
        "d_model": section.d_model,
        "d_ff": section.d_ff,
        "num_heads": section.num_heads,
        "dropout": section.dropout,
        "pad": special.pad,
        **section.mechanisms(),
    }
    return Shared(special, network, Data(**{key: card[key] for key in ("source", "content_hash")}))


def choose_rows(rows: int, share: float, seed: int) -> Rows:
    """The numbers of a ``share`` of ``rows``, in order; a smaller share is part of a larger one."""
    if share == 1.0:
        return np.arange(rows)
    return np.sort(np.random.default_rng((seed, 5)).permutation(rows)[: max(1, round(share * rows))])


def rank_batches(
    blocks: Rows, size: int, rank: int, world_size: int, make: Callable[[Rows], Batch], pad: int
) -> list[Batch]:
    """Fixed blocks ``(B, L)`` as a rank's batches of ``size``; every rank has the same number, some of them perhaps empty."""
    pieces = np.array_split(blocks, max(1, -(-len(blocks) // size)))
    empty = np.full_like(blocks[:1], pad)
    return [make(piece[rank::world_size] if len(piece) > rank else empty) for piece in pieces]
