"""Tests do not find what others left in the environment."""

import os

import pytest

LEFT = {"MLFLOW_TRACKING_URI": "sqlite:///another.db", "STEPLADDER_TRACKING": "journal"}


@pytest.fixture(scope="session")
def leaves_for_the_session():
    os.environ.update(LEFT)


@pytest.fixture(scope="module")
def leaves_for_the_file():
    os.environ.update(LEFT)


def left() -> dict[str, str]:
    return {name: os.environ[name] for name in LEFT if os.environ.get(name) == LEFT[name]}


def test_a_fixture_of_the_session(leaves_for_the_session):
    assert not left()


def test_a_fixture_of_the_file(leaves_for_the_file):
    assert not left()
    os.environ.update(LEFT)


def test_the_test_before():
    assert not left()
