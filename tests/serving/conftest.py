import json
from pathlib import Path

import pytest

from tests.tracking import made


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """Folders of tiny real models: a diffusion model of T=20 with three classes, a translation model of the letters a to d."""
    root = tmp_path_factory.mktemp("models")
    painter, translator = made.diffusion(root / "diffusion" / "T20"), made.translation(root / "transformer")
    assert json.loads((painter / "config.json").read_text())["classes"] == ["zero", "one", "two"]
    return {"painter": painter, "translator": translator}
