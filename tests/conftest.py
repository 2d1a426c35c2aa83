"""What every test has of its own: device slots, so that whoever else works on this machine neither waits for them nor holds
them up; and no store of MLflow's but its own.
"""

import os
import tempfile
from collections.abc import Iterator

import pytest

_slots = tempfile.TemporaryDirectory(prefix="slots-")
os.environ["STEPLADDER_SLOTS_FOLDER"] = _slots.name
os.environ.pop("STEPLADDER_HOLDS", None)


@pytest.fixture(scope="module", autouse=True)
def no_store_of_other_tests() -> Iterator[None]:
    """MLflow writes the store that it was last told into the environment, where the next file's tests would find it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    yield
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        del os.environ[name]
    os.environ.update(before)
