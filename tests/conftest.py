"""What every test has of its own: device slots, so that whoever else works on this machine neither waits for them nor holds
them up; and no store of MLflow's but its own. The longest files come first, so that at the end no process is left alone with one.
"""

import os
import tempfile
from collections.abc import Iterator

import pytest

_slots = tempfile.TemporaryDirectory(prefix="slots-")
os.environ["STEPLADDER_SLOTS_FOLDER"] = _slots.name
os.environ.pop("STEPLADDER_HOLDS", None)

LONGEST = (
    "test_main_job.py", "test_admitted.py", "test_ranks.py", "test_team.py", "test_logins.py", "test_comparison.py", "test_figures.py",
    "test_killed.py", "test_flows.py", "test_interrupt.py", "test_finite.py",
)  # fmt: skip
OURS = ("MLFLOW_", "STEPLADDER_")
GIVEN = {name: value for name, value in os.environ.items() if name.startswith(OURS)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, the rest as they were."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def _only_what_was_given() -> None:
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(GIVEN)


@pytest.fixture(autouse=True)
def nothing_of_other_tests() -> Iterator[None]:
    """No test finds what another left in the environment, nor what a fixture of the whole session did.

    MLflow writes the store that it was last told there; a flow or a command that a test runs would send its runs to it.
    """
    _only_what_was_given()
    yield
    _only_what_was_given()
