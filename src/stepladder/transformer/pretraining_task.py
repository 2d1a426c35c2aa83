"""Training the masked language model that a classifier of texts starts from."""

from __future__ import annotations

from pathlib import Path

from stepladder.data.card import read_card
from stepladder.params import Params
from stepladder.params.fitting import trainable
from stepladder.tasks.experiment import Experiment
from stepladder.transformer.training.masked_lm_task import masked_experiment


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The pre-training on the texts in ``data`` before a classification (``params.classification``); ``timesteps`` is not used."""
    trainable("masked-lm", params, read_card(data), world_size)
    return masked_experiment(params, data, params.classification.pretraining, rank, world_size)
