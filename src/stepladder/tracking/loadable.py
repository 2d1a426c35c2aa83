"""A model as MLflow loads it anywhere: a pyfunc model from code.

Its folder has safetensors weights and JSON configuration, ``pyfunc_FAMILY.py``, the source of ``stepladder`` at that time,
and pinned requirements; nothing is pickled. Where ``stepladder`` is not installed, this source is used; a process that
has imported ``stepladder`` already keeps using that one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import stepladder
from stepladder import dependencies, plugins
from stepladder.description import read
from stepladder.diffusion.networks.description import DiffusionDescription
from stepladder.diffusion.samplers.samplers import SAMPLER
from stepladder.errors import UserError
from stepladder.text_tasks import tasks
from stepladder.text_tasks.record import Settings
from stepladder.transformer.networks.description import TextDescription, read_text

SERVED = "stepladder.served"  # tag of a logged model: see ``_digest``
HERE = Path(__file__).parent
SOURCE = tuple(file.relative_to(dependencies.HOME).as_posix() for file in dependencies.HOME.rglob("*.py"))
FILES = ("model.safetensors", "config.json", "tokenizer.json")
REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "pyyaml", "safetensors", "tokenizers", "pillow")


def log(
    client: Any,
    run_id: str,
    family: str,
    folder: Path,
    settings: Settings,
    example: list[dict[str, str]],
    needed: Mapping[str, Path] | None = None,
) -> Any:
    """The model in ``folder``, logged with ``run_id`` once it has answered its input example; MLflow's ``LoggedModel``.

    If the same model was logged before, it is returned; if that was interrupted, it is completed.

    Args:
        settings: its defaults, which a request's params override (``model_config``).
        example: input rows, kept as the input example.
        needed: folders of other models that it needs, by their names inside its folder.

    Raises:
        Exception: whatever it fails with on its example; then nothing usable is logged.
    """
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    custom = [*plugins.of_model(folder), *plugins.named({SAMPLER.key: settings.get("sampling", {}).get("sampler")})]
    logged = _logged_model(client, run, family, _digest(settings, example, custom))
    if logged.status == LoggedModelStatus.READY:
        return logged
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model"
        try:
            _save(path, logged, family, {"": folder, **(needed or {})}, settings, example, plugins.bundled(custom))
            client.log_model_artifacts(logged.model_id, str(path))
        except BaseException:
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.FAILED)
            raise
    if logged.model_id not in {output.model_id for output in run.outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)


def _save(
    path: Path,
    logged: Any,
    family: str,
    folders: Mapping[str, Path],
    settings: Settings,
    example: list[dict[str, str]],
    custom: list[str],
) -> None:
    """Write the model to ``path`` as MLflow loads it, and have it answer its example; raises whatever it fails with.

    Args:
        folders: its own under the name "", and those of models that it needs under theirs.
        custom: files and folders of the user's code, saved with it as the package is.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import Model

    folder = folders[""]
    description: DiffusionDescription | TextDescription
    description = read(folder, DiffusionDescription) if family == "diffusion" else read_text(folder)
    rows = pd.DataFrame(example)
    files = path.with_name("files")
    for inner, source in folders.items():
        (files / inner).mkdir()
        for name in FILES:
            if (source / name).exists():
                shutil.copy(source / name, files / inner)
    mlflow_model = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        run_id=logged.source_run_id,
    )
    mlflow.pyfunc.save_model(
        str(path),
        mlflow_model=mlflow_model,
        python_model=str(HERE / f"pyfunc_{family}.py"),
        artifacts={"model": str(files)},
        model_config=settings,
        signature=_signature(description, settings),
        input_example=rows,
        code_paths=[str(Path(stepladder.__file__).parent), *custom],
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
    )
    answer = mlflow.pyfunc.load_model(str(path)).predict(rows)
    if len(answer) != len(rows):
        raise ValueError(f"{folder}: {len(answer)} answers to {len(rows)} rows")
    for compiled in path.rglob("__pycache__"):
        shutil.rmtree(compiled, ignore_errors=True)


def _logged_model(client: Any, run: Any, family: str, digest: str) -> Any:
    """The run's logged model of that ``digest``, a finished one if there is one; created where there is none."""
    from mlflow.entities import LoggedModelStatus

    experiment, run_id = run.info.experiment_id, run.info.run_id
    query = f"source_run_id = '{run_id}' AND tags.`{SERVED}` = '{digest}'"
    matches = client.search_logged_models([experiment], filter_string=query)
    if matches:
        return min(matches, key=lambda model: model.status != LoggedModelStatus.READY)
    return client.create_logged_model(
        experiment, name=family, source_run_id=run_id, model_type="pyfunc", tags={SERVED: digest}
    )


def _digest(settings: Settings, example: list[dict[str, str]], custom: list[str]) -> str:
    """Hash of all of a logged model but its weights: how it is served, its example, and the code that is saved with it."""
    code = [dependencies.code_hash(SOURCE), *plugins.code_hash(custom)]
    content = json.dumps([settings, example, *code], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def table(model_input: Any) -> Any:
    """``model_input`` as a ``DataFrame`` with a request in each row; MLflow makes one row of lists of a dictionary of columns.

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


def _signature(described: DiffusionDescription | TextDescription, settings: Settings) -> Any:
    """The columns and params of a served model, as MLflow's ``ModelSignature``."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    if isinstance(described, DiffusionDescription):
        texts = bool(described.model.vocabulary)
        inputs: list[ColSpec | TensorSpec] = [ColSpec("string", "label", required=bool(described.classes) or not texts)]
        inputs += [ColSpec("string", "text")] if texts else []
        outputs: list[ColSpec | TensorSpec] = [TensorSpec(np.dtype("uint8"), (-1, *described.model.shape))]
        params = [
            ParamSpec("steps", "long", settings["steps"]),
            ParamSpec("guidance_scale", "double", float(settings["guidance_scale"])),
            ParamSpec("seed", "long", settings["seed"]),
            ParamSpec("sampler", "string", settings["sampling"]["sampler"]),
        ]
    else:
        served = tasks.served(described.task)
        inputs = [ColSpec("string", served.column)]
        outputs = [ColSpec(kind, name) for name, kind in served.outputs.items()]
        params = [ParamSpec(name, kind, value) for name, (kind, value) in served.options(settings).items()]
    schema: Any = ParamSchema(params) if params else None  # MLflow takes None, whatever its types say
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=schema)
