"""A model's folder on this machine, whether it is named as a folder or as ``models:/NAME@ALIAS``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stepladder.errors import UserError
from stepladder.tracking import store


def fetch(name: str) -> tuple[Path, dict[str, Any]]:
    """The folder with the weights of ``name``, and what the registered model does by default ({} for a plain folder).

    Raises:
        UserError: there is no such folder, or the registry does not know the model.
    """
    if not name.startswith("models:/"):
        if not Path(name).is_dir():
            raise UserError(f"{name} is not a folder; name a model's folder, or models:/NAME@champion.")
        return Path(name), {}
    store.check()
    if not store.uri():
        raise UserError(
            f"{name} cannot be looked up without a tracking store; name a model's folder, such as models/transformer."
        )
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    client = store.client()
    try:
        folder = Path(download_artifacts(artifact_uri=name, tracking_uri=store.uri()))
    except MlflowException as error:
        known = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise UserError(
            f"{name} is not in the registry ({str(error.message).splitlines()[0][:120]}); it has the models: {known}."
        ) from None
    flavour = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
    return folder / flavour["artifacts"]["model"]["path"], dict(flavour.get("config") or {})
