"""Training a language model, of whichever text task."""

from __future__ import annotations

from pathlib import Path

from stepladder.data.card import read_card
from stepladder.params import Params
from stepladder.params.fitting import trainable
from stepladder.tasks.experiment import Experiment
from stepladder.text_tasks import tasks


def experiment(
    params: Params, data: Path, *, rank: int = 0, world_size: int = 1, timesteps: int | None = None
) -> Experiment:
    """The training of the language model that ``params`` describes, on text in ``data``; ``timesteps`` is not used."""
    card = read_card(data)
    trainable("transformer", params, card, world_size)
    task = tasks.learned(params.transformer.architecture, tasks.name_of(card))
    made: Experiment = task.model.experiment(params, data, rank=rank, world_size=world_size)
    return made
