"""A language model as MLflow serves it, loaded from code, without pickle.

Columns in and out: ``source`` to ``translation``, ``prompt`` to ``continuation``, ``text`` to ``label`` and ``probability``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from stepladder.text_tasks import tasks
from stepladder.tracking import loadable
from stepladder.transformer.networks.trained import load


class LanguageModel(PythonModel):
    """Translates, continues or classifies the text of each row."""

    def load_context(self, context: Any) -> None:
        self.loaded: tuple[Any, Any, Any] = load(Path(context.artifacts["model"]))
        self.settings = context.model_config

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``params``, see the signature: options of search or sampling, ``seed``, ``language`` where the model knows several."""
        with loadable.refusing():
            served = tasks.served(self.loaded[2].task)
            texts = [str(cell) for cell in loadable.table(model_input)[served.column]]
            return pd.DataFrame(served.answer(self.loaded, texts, self.settings, params or {}))


mlflow.models.set_model(LanguageModel())
