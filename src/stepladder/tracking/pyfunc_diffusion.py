"""A diffusion model as MLflow serves it: a column ``label`` in, pictures out. Loaded from code, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

from stepladder.diffusion.drawing import class_numbers, draw, load, to_uint8
from stepladder.params import Sampling
from stepladder.tracking import loadable


class DiffusionModel(PythonModel):
    """Draws one picture a row, of the class that ``label`` names or numbers (ignored by a model without classes)."""

    def load_context(self, context: Any) -> None:
        self.model, self.config = load(Path(context.artifacts["model"]))
        self.settings = context.model_config

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
        """uint8 ``(N, C, H, W)``; ``params``: ``steps``, ``guidance_scale``, ``seed``."""
        given = self.settings | (params or {})
        classes = self.config["classes"]
        names = [_name(classes, str(label)) for label in model_input["label"]] if classes else None
        with loadable.refusing():
            sampling = Sampling.model_validate(self.settings["sampling"] | {"guidance_scale": given["guidance_scale"]})
            labels = class_numbers(self.config, names, 1 if names else len(model_input))
            pictures = draw(
                self.model, self.config, {"labels": labels}, int(given["steps"]), sampling, seed=int(given["seed"])
            )
        return to_uint8(pictures)


def _name(classes: list[Any], label: str) -> str:
    """The class that ``label`` names, or else the one of which it is the number."""
    known = [str(name) for name in classes]
    if label not in known and label.isdecimal() and int(label) < len(known):
        return known[int(label)]
    return label


mlflow.models.set_model(DiffusionModel())
