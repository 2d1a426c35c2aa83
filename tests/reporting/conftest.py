from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting import job, synthetic


@pytest.fixture(scope="package", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The project that histories are of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="package")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole made-up project, compared; tests only read it."""
    folder = tmp_path_factory.mktemp("project")
    models, reports = synthetic.project(folder)
    job.compare(synthetic.PARAMS, models, reports)
    return folder
