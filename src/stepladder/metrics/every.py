"""Every figure, costs included: what studies and sweeps can measure."""

from __future__ import annotations

from collections.abc import Iterable

from stepladder.metrics.metric import Metric
from stepladder.metrics.pictures import PICTURES
from stepladder.metrics.texts import COMMON, FIGURES
from stepladder.text_tasks.tasks import FORMS, TASKS

OF_TRAINING = {
    "seconds": Metric("training time", -1, cost=True, of_model=True),
    "parameters": Metric("parameters", -1, cost=True, of_model=True),
}
COSTS = OF_TRAINING | {
    "network_evaluations": Metric("network evaluations a picture", -1, cost=True),
    "milliseconds_per_image": Metric("milliseconds a picture", -1, cost=True, headline=True),
}
METRICS = {**PICTURES, **FIGURES, **COSTS}
OF = {"images": {*PICTURES, *COSTS}} | {name: {*TASKS[name].judging.figures, *COMMON, *OF_TRAINING} for name in FORMS}
"""Names of the figures that models of pictures have, and models of each form of text."""


def measured(kinds: Iterable[str]) -> list[str]:
    """Names of the ``METRICS`` that models of one of ``kinds`` have, see ``OF``."""
    known = {name for kind in kinds for name in OF[kind]}
    return [name for name in METRICS if name in known]
