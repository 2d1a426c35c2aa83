"""What a study can measure: each figure's name on the page, which way is better, and how it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stepladder.reporting.numbers import duration, fixed, percent, short


@dataclass(frozen=True)
class Measure:
    """A figure.

    Attributes:
        label: as on the page. better: -1 where smaller is better, 1 where larger is.
        share: it is between 0 and 1. cost: it is what something takes, not how good it is. signed: it can be below 0.
        of_model: of the model, however it is drawn from.
    """

    label: str
    better: int
    share: bool = False
    cost: bool = False
    signed: bool = False
    of_model: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which every value lies."""
        return (-math.inf if self.signed else 0.0), (1.0 if self.share else math.inf)

    def shown(self, value: float | None) -> str:
        """``value`` as people read it."""
        if value is None:
            return short(None)
        if self.share:
            return percent(value)
        if self.label == "training time":
            return duration(value)
        return fixed(value, 0) if self.label == "parameters" else short(value)


MEASURES = {
    "frechet": Measure("Fréchet distance", -1),
    "kid": Measure("KID", -1, signed=True),
    "accuracy": Measure("accuracy", 1, share=True),
    "precision": Measure("precision", 1, share=True),
    "recall": Measure("recall", 1, share=True),
    "density": Measure("density", 1),
    "coverage": Measure("coverage", 1, share=True),
    "memorised": Measure("share memorised", -1, share=True),
    "nearest_ratio": Measure("distance to training pictures, relative", 1),
    "bits_per_dim": Measure("bits a dimension", -1, of_model=True),
    "bleu": Measure("BLEU", 1),
    "chrf": Measure("chrF", 1),
    "exact_match": Measure("exact match", 1, share=True),
    "perplexity": Measure("perplexity", -1),
    "bits_per_character": Measure("bits a character", -1),
    "macro_f1": Measure("macro-F1", 1, share=True),
    "loss": Measure("validation loss, nats", -1),
    "loss_1x": Measure("loss at the trained length, nats", -1),
    "loss_2x": Measure("loss at twice the length, nats", -1),
    "loss_4x": Measure("loss at four times the length, nats", -1),
    "gap": Measure("validation loss less training loss", -1, signed=True),
    "gradient_ratio": Measure("gradient norms at the first step, largest layer over smallest", -1),
    "seconds": Measure("training time", -1, cost=True, of_model=True),
    "parameters": Measure("parameters", -1, cost=True, of_model=True),
    "network_evaluations": Measure("network evaluations a picture", -1, cost=True),
    "milliseconds_per_image": Measure("milliseconds a picture", -1, cost=True),
}
COSTS = tuple(name for name, measure in MEASURES.items() if measure.cost)
