"""A diffusion model as MLflow serves it, loaded without pickle: the input is a class, and a text for models that read texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

from stepladder import plugins
from stepladder.data.grid import to_uint8
from stepladder.diffusion import classifier, requests
from stepladder.diffusion.samplers.samplers import SAMPLER
from stepladder.diffusion.sampling.drawing import draw, load
from stepladder.tracking import loadable


class DiffusionModel(PythonModel):
    """Draws one picture for each row: of the class named or numbered ``label`` and, where the model reads texts, of ``text``.

    An empty ``label`` or ``text`` means none; ``label`` is ignored by a model without classes.
    """

    def load_context(self, context: Any) -> None:
        folder = Path(context.artifacts["model"])
        self.model, self.description = load(folder)
        self.classifier, self.request_description = classifier.load_bundled(folder, self.description)
        self.tokenizer = requests.tokenizer(folder, self.description)
        self.settings = context.model_config

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """uint8 ``(N, C, H, W)``; ``params``: ``steps``, ``guidance_scale``, ``seed``, ``sampler``."""
        options, classes = self.settings | (params or {}), self.request_description.classes
        changes = {name: options.get(name) for name in ("guidance_scale", "sampler")}
        with loadable.refusing():
            rows = loadable.table(model_input)
            labels = [_name(classes, label) if classes else "" for label in _column(rows, "label")]
            condition = requests.condition(self.request_description, self.tokenizer, labels, _column(rows, "text"))
            plugins.from_outside({SAMPLER.key: changes["sampler"]}, {SAMPLER.key: self.settings["sampling"]["sampler"]})
            sampling = requests.sampling(self.description, self.settings["sampling"], changes)
            pictures = draw(
                self.model, self.description, condition, int(options["steps"]), sampling,
                seed=int(options["seed"]), classifier=self.classifier,
            )  # fmt: skip
        return to_uint8(pictures)


def _column(rows: pd.DataFrame, name: str) -> list[str]:
    """The values of column ``name``, "" where one is missing."""
    return ["" if pd.isna(value) else str(value) for value in rows.get(name, [None] * len(rows))]


def _name(classes: Sequence[str], label: str) -> str:
    """The class that ``label`` names, or else the one of which it is the number."""
    if label not in classes and label.isdecimal() and int(label) < len(classes):
        return classes[int(label)]
    return label


mlflow.models.set_model(DiffusionModel())
