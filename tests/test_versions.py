"""Ranges in pyproject.toml, pins in constraints.txt: what is tested is one of what is admitted."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

DECLARED = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(line.split("==") for line in Path("constraints.txt").read_text(encoding="utf-8").splitlines())
EVERY = [*DECLARED["dependencies"], *(word for extra in DECLARED["optional-dependencies"].values() for word in extra)]
TOOLS = ("torch", "pytorch-lightning", "datasets", "dvc", "mlflow", "prefect")


def test_every_pin_is_within_its_range():
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PINS.items()}
    for required in map(Requirement, EVERY):
        if required.name not in ("stepladder", "setuptools"):  # which `pip freeze` leaves out
            assert required.specifier.contains(pins[required.name.lower()]), f"{required} and not what is tested"


def test_no_version_is_demanded_and_none_beyond_the_next_major():
    for required in map(Requirement, EVERY):
        operators = {part.operator for part in required.specifier}
        assert not operators & {"==", "==="}, f"{required} leaves nobody a choice"
        if required.name in TOOLS:
            assert operators == {">=", "<"}, f"{required} has no two ends"


def test_pins_are_of_any_build():
    """A machine with a GPU takes another build of the same version."""
    assert not [name for name, version in PINS.items() if "+" in version]
