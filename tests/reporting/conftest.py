from pathlib import Path

import pytest

from stepladder.reporting import comparison
from tests.reporting import synthetic


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole made-up project, compared; tests only read it."""
    folder = tmp_path_factory.mktemp("project")
    models, reports = synthetic.project(folder)
    comparison.compare(synthetic.PARAMS, models, reports)
    return folder
