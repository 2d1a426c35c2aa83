"""Loads a registered model in a fresh process, as someone without the project would: ``python -I -B probe.py MODEL_URI``.

With only the source inside the model, and with pickle forbidden, it answers the input example. Its last line is JSON:
``{"megabytes", "seconds_to_load", "seconds", "rows"}``, ``seconds`` for the complete example, the best of up to three answers.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE = 1.0  # seconds; an answer that takes longer is not repeated


def main(model_uri: str) -> None:
    """Load the model of ``model_uri``, have it answer its input example, and print the figures.

    Raises ``ValueError`` where there is not one answer for each row of the example.
    """
    import mlflow
    from mlflow.models import Model

    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri))
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    start = time.perf_counter()
    model = mlflow.pyfunc.load_model(str(folder))
    loaded = time.perf_counter() - start
    example: Any = Model.load(str(folder)).load_input_example(str(folder))
    answers: list[float] = []
    while len(answers) < 3 and (not answers or answers[-1] < PATIENCE):
        start = time.perf_counter()
        answer = model.predict(example)
        answers.append(time.perf_counter() - start)
        if len(answer) != len(example):
            raise ValueError(f"{len(answer)} answers to the {len(example)} rows of the input example")
    figures = {"megabytes": size / 1e6, "seconds_to_load": loaded, "seconds": min(answers), "rows": len(example)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
