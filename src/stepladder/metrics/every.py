"""Every figure, what something takes included: what studies and sweeps can measure."""

from __future__ import annotations

from stepladder.metrics.metric import IMAGES, TEXTS, Metric
from stepladder.metrics.pictures import PICTURES
from stepladder.metrics.texts import FIGURES

COSTS = {
    "seconds": Metric("training time", -1, cost=True, of_model=True, of=IMAGES + TEXTS),
    "parameters": Metric("parameters", -1, cost=True, of_model=True, of=IMAGES + TEXTS),
    "network_evaluations": Metric("network evaluations a picture", -1, cost=True),
    "milliseconds_per_image": Metric("milliseconds a picture", -1, cost=True, headline=True),
}
METRICS = {**PICTURES, **FIGURES, **COSTS}
