"""A model's folder on this machine, whether it is named as a folder or as ``models:/NAME@ALIAS``."""

from __future__ import annotations

from pathlib import Path

import yaml

from stepladder.errors import UserError
from stepladder.text_tasks.record import Settings
from stepladder.tracking import health, references, store


def fetch(name: str) -> tuple[Path, Settings]:
    """The folder with the weights of ``name``, and what the registered model does by default ({} for a plain folder).

    Raises:
        UserError: there is no such folder, or the registry does not know the model.
    """
    if Path(name).is_dir():
        return Path(name), {}
    if not references.readable(name) or (not name.startswith(references.SCHEME) and not store.exists()):
        raise UserError(f"{name} is not a folder; name a model's folder, or models:/NAME@champion.")
    health.check()
    if not store.uri():
        raise UserError(
            f"{name} cannot be looked up without a tracking store; name a model's folder, such as models/transformer."
        )
    with store.answering():
        folder = _downloaded(name)
    flavour = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
    settings: Settings | None = flavour.get("config")
    return folder / flavour["artifacts"]["model"]["path"], settings or {}


def _downloaded(name: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = store.client()
    model, number = references.version(client, name)
    try:
        return Path(download_artifacts(artifact_uri=f"models:/{model}/{number}", tracking_uri=store.uri()))
    except (MlflowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        place = client.get_model_version_download_uri(model, number)
        raise UserError(
            f"{name} is version {number} of {model}, but its files cannot be read at {place} ({reason}); copy them there from where "
            "the store came from, or register the model again."
        ) from error
