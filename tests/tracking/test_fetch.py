import pytest

from stepladder.errors import UserError
from stepladder.tracking.fetch import fetch
from tests.tracking.test_registry import models, register  # noqa: F401


def test_a_folder_is_itself(tmp_path):
    assert fetch(str(tmp_path)) == (tmp_path, {})
    with pytest.raises(UserError, match="absent is not a folder"):
        fetch(str(tmp_path / "absent"))


def test_a_registered_model(models):  # noqa: F811
    register(models)
    folder, settings = fetch("models:/diffusion-digits@champion")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert settings["steps"] == 2
    with pytest.raises(UserError, match=r"nothing is not in the registry; .*diffusion-digits, transformer-names"):
        fetch("models:/nothing@champion")


def test_without_a_store(project, monkeypatch):
    monkeypatch.setenv("STEPLADDER_TRACKING", "journal")
    with pytest.raises(UserError, match="cannot be looked up without a tracking store"):
        fetch("models:/diffusion-digits@champion")
