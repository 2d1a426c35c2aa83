"""A language model as MLflow serves it, loaded from code, without pickle.

Columns in and out: ``source`` to ``translation``, ``prompt`` to ``continuation``, ``text`` to ``label`` and ``probability``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from stepladder.params import Decoding
from stepladder.tracking import loadable
from stepladder.transformer.inference.classification import classify
from stepladder.transformer.inference.generation import generate
from stepladder.transformer.inference.translation import translate
from stepladder.transformer.networks.trained import load


class LanguageModel(PythonModel):
    """Translates, goes on with or classifies a text a row."""

    def load_context(self, context: Any) -> None:
        self.loaded: tuple[Any, Any, Any] = load(Path(context.artifacts["model"]))
        self.settings = context.model_config

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``params``, see its signature: of a search or of sampling, ``seed``, ``language`` where the model knows several."""
        answer = {"pairs": self._translate, "lines": self._generate, "labels": self._classify}[self.loaded[2].task]
        with loadable.refusing():
            return answer(loadable.table(model_input), dict(params or {}))

    def _translate(self, rows: pd.DataFrame, given: dict[str, Any]) -> pd.DataFrame:
        language = given.pop("language", "") or self.settings["language"] or None
        decoding = Decoding.model_validate(self.settings["decoding"] | given)
        found = translate(*self.loaded, [str(sentence) for sentence in rows["source"]], decoding, language)
        return pd.DataFrame({"translation": found})

    def _generate(self, rows: pd.DataFrame, given: dict[str, Any]) -> pd.DataFrame:
        seed = given.pop("seed", 0)
        decoding = Decoding.model_validate(self.settings["decoding"] | given)
        found = generate(*self.loaded, [str(prompt) for prompt in rows["prompt"]], decoding, seed=seed)
        return pd.DataFrame({"continuation": found})

    def _classify(self, rows: pd.DataFrame, given: dict[str, Any]) -> pd.DataFrame:
        best = classify(*self.loaded, [str(text) for text in rows["text"]]).max(dim=1)
        classes = self.loaded[2].classes
        return pd.DataFrame(
            {"label": [classes[i] for i in best.indices.tolist()], "probability": best.values.double().numpy()}
        )


mlflow.models.set_model(LanguageModel())
