"""A translation model as MLflow serves it: a column ``source`` in, ``translation`` out. Loaded from code, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from stepladder.params import Decoding
from stepladder.tracking import loadable
from stepladder.transformer.trained import load
from stepladder.transformer.translation import translate


class TranslationModel(PythonModel):
    """Translates one sentence a row."""

    def load_context(self, context: Any) -> None:
        self.model, self.tokenizer, self.config = load(Path(context.artifacts["model"]))
        self.settings = context.model_config

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``params``: ``beam_size``, ``length_penalty``, ``language`` (needed only where the model knows several)."""
        given = dict(params or {})
        language = given.pop("language", "") or self.settings["language"] or None
        with loadable.refusing():
            sentences = [str(sentence) for sentence in loadable.table(model_input)["source"]]
            decoding = Decoding.model_validate(self.settings["decoding"] | given)
            found = translate(self.model, self.tokenizer, self.config, sentences, decoding, language)
        return pd.DataFrame({"translation": found})


mlflow.models.set_model(TranslationModel())
