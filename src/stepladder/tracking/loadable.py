"""A model as MLflow loads it anywhere: a pyfunc model from code.

In its folder are safetensors weights and JSON configuration, ``pyfunc_FAMILY.py``, the source of ``stepladder`` as it was,
and pinned requirements; there is no pickle in it. Where ``stepladder`` is not installed it brings its own; a process that
has imported ``stepladder`` already goes on using that one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import stepladder
from stepladder.errors import UserError

HERE = Path(__file__).parent
FILES = ("model.safetensors", "config.json", "tokenizer.json")
REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "tokenizers", "pillow")


def log(
    client: Any, run_id: str, family: str, folder: Path, settings: dict[str, Any], example: list[dict[str, str]]
) -> Any:
    """The model in ``folder``, logged with ``run_id`` once it has answered its input example; MLflow's ``LoggedModel``.

    Args:
        settings: what it does unless its params say otherwise (``model_config``).
        example: rows, kept as the input example.

    Raises:
        Exception: whatever it fails with on its example; then nothing usable is logged.
    """
    import mlflow
    import pandas as pd
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    signature = _signature(family, config, settings)
    rows = pd.DataFrame(example)
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment, name=family, source_run_id=run_id, model_type="pyfunc")
    with tempfile.TemporaryDirectory() as temporary:
        files, path = Path(temporary) / "files", str(Path(temporary) / "model")
        files.mkdir()
        for name in FILES:
            if (folder / name).exists():
                shutil.copy(folder / name, files)
        description = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=run_id,
        )
        try:
            mlflow.pyfunc.save_model(
                path,
                mlflow_model=description,
                python_model=str(HERE / f"pyfunc_{family}.py"),
                artifacts={"model": str(files)},
                model_config=settings,
                signature=signature,
                input_example=rows,
                code_paths=[str(Path(stepladder.__file__).parent)],
                pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
            )
            answer = mlflow.pyfunc.load_model(path).predict(rows)
            if len(answer) != len(rows):
                raise ValueError(f"{folder}: {len(answer)} answers to {len(rows)} rows")
            for compiled in Path(path).rglob("__pycache__"):
                shutil.rmtree(compiled, ignore_errors=True)
            client.log_model_artifacts(logged.model_id, path)
        except BaseException:
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
            raise
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def table(model_input: Any) -> Any:
    """``model_input`` as a ``DataFrame`` of a request a row; MLflow makes of a dictionary of columns one row of lists.

    Raises:
        UserError: the lists are of different lengths.
    """
    import numpy as np
    import pandas as pd

    rows = pd.DataFrame(model_input)
    listed = [name for name in rows if any(isinstance(cell, (list, tuple, np.ndarray)) for cell in rows[name])]
    try:
        return rows.explode(listed, ignore_index=True) if listed else rows
    except ValueError:
        lengths = ", ".join(f"{name}: {sum(map(np.size, rows[name]))}" for name in listed)
        raise UserError(f"The columns are of different lengths ({lengths}); give one value a row in each.") from None


@contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with a request into the sentence, and the status 400, that MLflow's server answers with."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']}: {e['msg']}" for e in error.errors())
        raise MlflowException.invalid_parameter_value(wrong) from error
    except UserError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from error


def _signature(family: str, config: dict[str, Any], settings: dict[str, Any]) -> Any:
    """The columns and params of a family, as MLflow's ``ModelSignature``."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    if family == "diffusion":
        reads = bool(config["model"].get("vocabulary"))
        inputs: list[ColSpec | TensorSpec] = [ColSpec("string", "label", required=bool(config["classes"]) or not reads)]
        inputs += [ColSpec("string", "text")] if reads else []
        outputs: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype("uint8"), (-1, *config["model"]["shape"]))]
        params = [
            ParamSpec("steps", "long", settings["steps"]),
            ParamSpec("guidance_scale", "double", float(settings["guidance_scale"])),
            ParamSpec("seed", "long", settings["seed"]),
            ParamSpec("sampler", "string", settings["sampling"]["sampler"]),
        ]
    elif config.get("task") == "labels":
        inputs, params = [ColSpec("string", "text")], []
        outputs = [ColSpec("string", "label"), ColSpec("double", "probability")]
    elif config.get("task") == "lines":
        decoding = settings["decoding"]
        inputs, outputs = [ColSpec("string", "prompt")], [ColSpec("string", "continuation")]
        params = [ParamSpec("max_length", "long", decoding["max_length"]), ParamSpec("seed", "long", 0)]
        if decoding["method"] == "sample":
            params += [
                ParamSpec("temperature", "double", float(decoding["temperature"])),
                ParamSpec("top_k", "long", decoding["top_k"]),
                ParamSpec("top_p", "double", float(decoding["top_p"])),
                ParamSpec("min_p", "double", float(decoding["min_p"])),
                ParamSpec("repetition_penalty", "double", float(decoding["repetition_penalty"])),
            ]
    else:
        inputs, outputs = [ColSpec("string", "source")], [ColSpec("string", "translation")]
        params = [
            ParamSpec("beam_size", "long", settings["decoding"]["beam_size"]),
            ParamSpec("length_penalty", "double", float(settings["decoding"]["length_penalty"])),
            ParamSpec("language", "string", settings["language"]),
        ]
    schema: Any = ParamSchema(params) if params else None  # MLflow takes None, whatever its types say
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=schema)
